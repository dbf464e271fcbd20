"""One sentence for a task in every state, and figures that agree with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import holds, waits
from domain.configuration import Configuration, Pause
from domain.dispatch_status import Closure, Dispatcher, LaneStatus, dispatcher_of
from domain.explain import explain
from domain.explanation import WAITED_FOR, Circumstances, waited
from domain.limits.limit import Limit
from domain.line import Line, Queue, Within
from domain.place import line_of
from domain.states import TaskStatus
from domain.strategies.choice import StrategyChoice
from domain.task import TaskState
from schemas.events import TaskSubmitted
from schemas.models import ModelDefinition

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
SUBMISSION = TaskSubmitted(
    task_id="t",
    occurred_at=NOW - timedelta(seconds=10),
    type="summarization",
    resource_class="llm",
    routing_key="qwen",
    tenant="newsroom",
    model="qwen",
    depends_on=("a", "b"),
)
STATE = TaskState(
    task_id="t",
    status=TaskStatus.QUEUED,
    run=1,
    submission=SUBMISSION,
    priority=2,
    model="qwen",
    submitted_at=SUBMISSION.occurred_at,
    queued_at=SUBMISSION.occurred_at,
)
LINE = Line("newsroom", (Queue("newsroom", 5, 2), Queue("sports", 9, 4)), older=3)
#: Of those only that wait for its own limit.
OWN_LINE = Line("newsroom", (Queue("newsroom", 5, 2),), older=2)
WAITED = {waits.PRIORITY: 30_000, waits.CONCURRENCY: 11_000}


def lane(**more: Any) -> LaneStatus:
    known = LaneStatus("qwen", None, "summarization", "newsroom", waiting=6, running=2, mean_seconds=26.0)
    return replace(known, **more)


def worker(*lanes: LaneStatus, slots: int = 2, running: int = 2) -> Dispatcher:
    return Dispatcher("w", "llm", NOW, slots, running, "priority", lanes)


def about(**more: Any) -> Circumstances:
    known = Circumstances(state=STATE, now=NOW, configuration=Configuration(), line=LINE, dispatchers=(worker(lane()),))
    return replace(known, **more)


def state(status: TaskStatus, **more: Any) -> TaskState:
    return replace(STATE, status=status, **more)


def test_a_task_waits_for_a_model_whose_slots_are_busy() -> None:
    closed = lane(closed_by=Closure("concurrency", "model", "qwen"))
    configuration = Configuration(set_limits={("model", "qwen"): Limit(concurrency=2)})
    found = explain(about(dispatchers=(worker(closed),), configuration=configuration, line=OWN_LINE))
    assert found.sentence == "It is third in line for model qwen, whose 2 slots are busy; about 39 s."
    assert (found.position, found.ahead, found.line, found.cause) == (3, 2, "model qwen", waits.CONCURRENCY)
    assert found.estimate_seconds == 3 * 26.0 / 2
    assert found.bound_seconds is None


def test_a_task_waits_for_its_turn_in_its_class() -> None:
    found = explain(about())
    assert found.sentence == "It is seventh in line for class llm, whose 2 slots are busy; about 91 s."
    assert (found.position, found.cause, found.line) == (7, waits.PRIORITY, "class llm")


def test_the_bound_is_the_strategys_own_from_now_on() -> None:
    found = explain(about())
    assert (found.bound_after_seconds, found.bound_starts) == (50.0, 5 * (3 + 1))
    assert found.bound_seconds == 50.0 + 20 * 26.0 / 2
    aged = explain(about(now=NOW + timedelta(seconds=100)))
    assert aged.bound_after_seconds == 0.0
    fair = explain(about(configuration=Configuration(strategies={"llm": StrategyChoice("fair")})))
    assert (fair.bound_starts, fair.bound_seconds) == (None, None)


def test_under_fair_shares_others_turns_come_between() -> None:
    configuration = Configuration(strategies={"llm": StrategyChoice("fair")})
    found = explain(about(configuration=configuration))
    assert (found.ahead, found.cause) == (2 + 3, waits.FAIRNESS)
    heavy = replace(configuration, weights={"newsroom": 10.0})
    assert explain(about(configuration=heavy)).ahead == 2 + 1


def test_a_free_slot_is_said() -> None:
    found = explain(about(line=Line("newsroom"), dispatchers=(worker(lane(running=1), running=1),)))
    assert found.sentence == "It is first in line for class llm, which has a slot free; it starts now."
    assert (found.cause, found.estimate_seconds) == (waits.DELIVERY, 0.0)


@pytest.mark.parametrize(
    ("cause", "limit"),
    [
        (waits.CONCURRENCY, Limit(concurrency=0)),
        (waits.RATE_LIMIT, Limit(requests_per_minute=0)),
        (waits.RATE_LIMIT, Limit(tokens_per_minute=0)),
    ],
)
@pytest.mark.parametrize("name", ["newsroom", "*"])
def test_a_limit_of_nothing_has_no_end(cause: str, limit: Limit, name: str) -> None:
    closed = lane(closed_by=Closure(cause, "tenant", "newsroom"))
    configuration = Configuration(set_limits={("tenant", name): limit})
    found = explain(about(dispatchers=(worker(closed),), configuration=configuration, line=OWN_LINE))
    assert found.sentence == "It is third in line for tenant newsroom, whose limit lets nothing start."
    assert (found.cause, found.estimate_seconds, found.position) == (cause, None, 3)


def test_a_limit_on_each_is_everybodys_own() -> None:
    closed = lane(closed_by=Closure("concurrency", "tenant", "newsroom"))
    configuration = Configuration(set_limits={("tenant", "*"): Limit(concurrency=1)})
    found = explain(about(dispatchers=(worker(closed),), configuration=configuration, line=OWN_LINE))
    assert found.sentence == "It is third in line for tenant newsroom, whose 1 slot is busy; about 78 s."


@pytest.mark.parametrize(
    ("limit", "until", "estimate"),
    [
        (Limit(requests_per_minute=2), None, 90.0),
        (Limit(requests_per_minute=2), NOW + timedelta(seconds=5), 65.0),
        (Limit(tokens_per_minute=100), NOW + timedelta(seconds=5), 5.0),
        (Limit(tokens_per_minute=100), None, None),
    ],
)
def test_a_rate_lets_start_what_it_has_refilled(limit: Limit, until: datetime | None, estimate: float | None) -> None:
    closed = lane(closed_by=Closure("rate_limit", "tenant", "newsroom", until))
    configuration = Configuration(set_limits={("tenant", "newsroom"): limit})
    found = explain(about(dispatchers=(worker(closed),), configuration=configuration, line=OWN_LINE))
    assert (found.position, found.estimate_seconds) == (3, estimate)


def test_without_any_attempt_ended_there_is_no_estimate_but_the_senders() -> None:
    unknown = worker(lane(mean_seconds=None))
    found = explain(about(dispatchers=(unknown,)))
    assert found.sentence == "It is seventh in line for class llm, whose 2 slots are busy."
    assert (found.estimate_seconds, found.bound_seconds, found.bound_starts) == (None, None, 20)
    told = state(TaskStatus.QUEUED, submission=replace(SUBMISSION, estimated_seconds=4.0))
    assert explain(about(state=told, dispatchers=(unknown,))).estimate_seconds == 14.0


@pytest.mark.parametrize(
    ("closure", "sentence", "estimate"),
    [
        (
            Closure("rate_limit", "provider", "kimi", NOW + timedelta(seconds=12)),
            "It is seventh in line for provider kimi, which is at its rate limit until 09:30:12 UTC; about 12 s.",
            12.0,
        ),
        (
            Closure("concurrency", "tenant", "newsroom"),
            "It is third in line for tenant newsroom, whose 2 slots are busy; about 39 s.",
            39.0,
        ),
        (
            Closure("model_loading", "model", "qwen", NOW + timedelta(seconds=5)),
            "It is third in line for model qwen, which is being loaded until 09:30:05 UTC; about 5 s.",
            5.0,
        ),
        (
            Closure("memory", "node", "big"),
            "It is seventh in line for node big, which waits for memory; about 91 s.",
            91.0,
        ),
        (
            Closure("backoff", "provider", "kimi", NOW + timedelta(seconds=30)),
            "It is seventh in line for provider kimi, which failed and is left alone until 09:30:30 UTC; about 30 s.",
            30.0,
        ),
    ],
    ids=lambda value: value.cause if isinstance(value, Closure) else "",
)
def test_what_closes_a_lane_is_said(closure: Closure, sentence: str, estimate: float) -> None:
    line = OWN_LINE if "third" in sentence else LINE
    found = explain(about(dispatchers=(worker(lane(closed_by=closure)),), line=line))
    assert (found.sentence, found.cause, found.estimate_seconds) == (sentence, closure.cause, estimate)


def test_it_stands_in_line_with_those_that_wait_for_the_same() -> None:
    configuration = Configuration(
        models={
            "k2": ModelDefinition(name="k2", provider="kimi"),
            "other": ModelDefinition(name="other", path="other.gguf"),
        }
    )

    def within(closure: Closure | None) -> Within:
        beside = lane(tenant="sports", closed_by=Closure("memory", "node", "big"))
        return line_of(STATE, (worker(lane(closed_by=closure), beside),), configuration)

    assert within(None) == Within(without={("summarization", "sports", "qwen")})
    assert within(Closure("concurrency", "model", "qwen")) == Within(models=["qwen"])
    assert within(Closure("rate_limit", "provider", "kimi")) == Within(models={"k2", "qwen"})
    assert within(Closure("concurrency", "tenant", "newsroom")) == Within(tenant="newsroom")
    assert within(Closure("concurrency", "type", "summarization")) == Within(type="summarization")
    assert within(Closure("memory", "node", "big")) == Within()


def test_another_lanes_limit_is_none_of_its_business() -> None:
    other = lane(tenant="sports", closed_by=Closure("concurrency", "tenant", "sports"))
    assert explain(about(dispatchers=(worker(lane(), other),))).line == "class llm"


def test_a_task_that_nobody_has_yet_is_on_its_way() -> None:
    for unknown in (about(line=None), about(state=TaskState(task_id="t"), line=None)):
        assert explain(unknown).sentence == "It is on its way to a worker."


def test_a_class_without_workers_is_said() -> None:
    found = explain(about(dispatchers=()))
    assert (found.sentence, found.cause) == ("It waits for a worker: none of class llm is at work.", waits.RECOVERY)


PAUSE = Pause("tenant", "newsroom", False, "invoice 114 is open.", NOW - timedelta(days=1), "api")


def test_a_pause_is_said_with_who_and_why() -> None:
    configuration = Configuration(pauses={("tenant", "newsroom"): PAUSE})
    expected = (
        "It waits until tenant newsroom is resumed, which was paused by api at 2026-11-20 09:30:00 UTC: "
        "invoice 114 is open."
    )
    in_line = explain(about(configuration=configuration))
    held = state(TaskStatus.HELD)
    outside = explain(about(configuration=configuration, state=held, hold_reason=holds.paused("tenant", "newsroom")))
    assert in_line.sentence == outside.sentence == expected
    assert in_line.cause == outside.cause == waits.PAUSED
    over = explain(about(state=held, hold_reason=holds.paused("tenant", "newsroom")))
    assert over.sentence == "It waits until tenant newsroom is resumed."


def test_an_offline_model_is_said() -> None:
    model = ModelDefinition(name="qwen", path="qwen.gguf", status="offline")
    in_line = explain(about(configuration=Configuration(models={"qwen": model})))
    assert (in_line.sentence, in_line.cause) == ("It waits until model qwen is online again.", waits.PAUSED)
    held = explain(about(state=state(TaskStatus.HELD), hold_reason=holds.model_offline("qwen")))
    assert (held.sentence, held.cause) == ("It is held until model qwen is online again.", waits.PAUSED)


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (holds.RUN_AT, "It is held until 11:30:00 UTC, in 2 h."),
        (holds.QUEUE_FULL, "It is held until class llm has room for it."),
        (
            holds.DEPENDENCIES,
            "It is held until the tasks that it depends on have ended: a and b, and not before 11:30:00 UTC, in 2 h.",
        ),
        ("of a later version", "It is held until 11:30:00 UTC, in 2 h (of a later version)."),
    ],
)
def test_a_hold_says_until_when_or_for_what(reason: str, sentence: str) -> None:
    held = state(TaskStatus.HELD, due_at=NOW + timedelta(hours=2))
    found = explain(about(state=held, hold_reason=reason, line=None))
    assert (found.sentence, found.cause) == (sentence, waits.HELD)


def test_a_task_that_its_provider_refused_says_until_when() -> None:
    refused = state(
        TaskStatus.QUEUED,
        attempt=2,
        due_at=NOW + timedelta(seconds=30),
        error_code="rate_limited",
        error_detail="HTTP 429: slow down.",
    )
    found = explain(about(state=refused))
    assert found.sentence == (
        "It waits until 09:30:30 UTC, in 30 s, since its provider refused attempt 2 with rate_limited: HTTP 429: slow "
        "down; that costs it no attempt."
    )
    assert (found.cause, found.estimate_seconds) == (waits.RATE_LIMIT, 30.0)
    later = explain(about(state=refused, now=NOW + timedelta(seconds=30)))
    assert later.sentence.startswith("It is seventh in line"), "it stands in line again"


def test_a_model_that_is_being_loaded_is_waited_for_nobody_knows_how_long() -> None:
    closed = lane(closed_by=Closure(waits.MODEL_LOADING, "model", "qwen"))
    found = explain(about(dispatchers=(worker(closed),), line=OWN_LINE))
    assert found.sentence == "It is third in line for model qwen, which is being loaded."
    assert (found.cause, found.estimate_seconds) == (waits.MODEL_LOADING, None)


def test_tasks_that_name_no_model_stand_in_line_for_that_of_the_settings() -> None:
    unnamed = replace(STATE, model=None)
    closed = lane(model=None, closed_by=Closure(waits.MODEL_LOADING, "model", "default"))
    assert line_of(unnamed, (worker(closed),), Configuration()) == Within(type="summarization")


def test_a_retry_says_when_and_why() -> None:
    failed = state(
        TaskStatus.RETRY_SCHEDULED,
        attempt=1,
        due_at=NOW + timedelta(minutes=1),
        error_code="busy",
        error_detail="try later",
    )
    found = explain(about(state=failed))
    assert found.sentence == (
        "It waits for attempt 2 at 09:31:00 UTC, in 60 s, since attempt 1 failed with busy: try later."
    )
    assert (found.cause, found.estimate_seconds) == (waits.BACKOFF, 60.0)
    due = explain(about(state=replace(failed, due_at=NOW)))
    assert due.sentence.startswith("It waits for attempt 2 which is due, since")


def test_what_was_held_until_now_waits_for_room() -> None:
    held = state(TaskStatus.HELD, due_at=NOW - timedelta(seconds=30))
    found = explain(about(state=held, hold_reason=holds.RUN_AT, line=None))
    assert found.sentence == "Its time was 09:29:30 UTC; it is held until class llm has room for it."
    assert (found.cause, found.estimate_seconds) == (waits.HELD, None)


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        (
            state(TaskStatus.RUNNING, attempt=1, started_at=NOW),
            "It runs, as attempt 1 since 09:30:00 UTC, after it waited 41 s: 30 s for more urgent work and 11 s for a "
            "free slot.",
        ),
        (
            state(TaskStatus.CANCELLING, attempt=2, started_at=NOW),
            "It is being stopped, as attempt 2 since 09:30:00 UTC, after it waited 41 s: 30 s for more urgent work and "
            "11 s for a free slot.",
        ),
        (
            state(TaskStatus.COMPLETED, attempt=2),
            "It completed in 2 attempts, after it waited 41 s: 30 s for more urgent work and 11 s for a free slot.",
        ),
        (
            state(TaskStatus.FAILED, attempt=1, error_code="broken", error_detail="no."),
            "It failed with broken: no, after it waited 41 s: 30 s for more urgent work and 11 s for a free slot.",
        ),
        (
            state(TaskStatus.FAILED, attempt=4, error_code="broken", error_detail="no."),
            "It failed in 4 attempts with broken: no, after it waited 41 s: 30 s for more urgent work and 11 s for a "
            "free slot.",
        ),
    ],
    ids=lambda value: str(value.status) if isinstance(value, TaskState) else "",
)
def test_what_has_started_says_what_it_waited_for(task: TaskState, sentence: str) -> None:
    found = explain(about(state=task, line=None, waited_ms=WAITED))
    assert (found.sentence, found.waited_ms, found.cause) == (sentence, WAITED, None)


def test_a_start_that_did_not_say_why_it_waited_is_not_made_up() -> None:
    found = explain(about(state=state(TaskStatus.RUNNING, attempt=1, started_at=NOW)))
    assert found.sentence == "It runs, as attempt 1 since 09:30:00 UTC."


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (TaskStatus.CANCELLED, "It was cancelled; it waited 10 s and never started."),
        (
            TaskStatus.EXPIRED,
            "It expired, since its deadline passed before it could start; it waited 10 s and never started.",
        ),
        (TaskStatus.FAILED, "It failed with broken: no; it waited 10 s and never started."),
    ],
)
def test_what_never_started_says_how_long_it_waited(status: TaskStatus, sentence: str) -> None:
    ended = state(status, finished_at=NOW, error_code="broken", error_detail="no")
    assert explain(about(state=ended, line=None)).sentence == sentence


def test_a_rejected_task_says_why() -> None:
    rejected = TaskState(
        task_id="t", status=TaskStatus.REJECTED, error_code="invalid", error_detail="/type: unknown task type 'x'"
    )
    assert explain(about(state=rejected, line=None)).sentence == (
        "It was rejected with invalid: /type: unknown task type 'x'."
    )


@given(
    st.sampled_from(TaskStatus),
    st.none() | st.sampled_from(["", holds.RUN_AT, holds.DEPENDENCIES, "paused: class llm", "model_offline: m", "x"]),
    st.booleans(),
    st.integers(0, 3),
    st.dictionaries(st.sampled_from(waits.CAUSES), st.integers(0, 10**9)),
    st.text(st.characters(exclude_characters="."), max_size=30),
)
def test_every_state_has_one_sentence(
    status: TaskStatus, reason: str | None, known: bool, attempt: int, causes: dict[str, int], detail: str
) -> None:
    task = replace(STATE, status=status, attempt=attempt, submission=SUBMISSION if known else None, error_detail=detail)
    sentence = explain(about(state=task, hold_reason=reason, waited_ms=causes)).sentence
    assert sentence.endswith(".")
    assert not sentence.endswith("..")
    assert "None" not in sentence or "None" in detail
    assert len(sentence.splitlines()) == 1


def test_every_cause_has_its_words() -> None:
    assert set(WAITED_FOR) == set(waits.CAUSES)
    assert waited({"unheard_of": 1500}) == "1.5 s for unheard_of"


def test_what_is_next_to_nothing_is_not_worth_a_word() -> None:
    assert waited({waits.PAUSED: 1103, waits.DELIVERY: 8}) == "1.1 s while it was paused"
    assert waited({waits.DELIVERY: 8, waits.CONCURRENCY: 0}) == "0 s on its way"
    assert waited({waits.PAUSED: 900, waits.DELIVERY: 500, waits.PRIORITY: 8}) == (
        "1.4 s: 0.9 s while it was paused and 0.5 s on its way"
    )


def test_a_row_of_another_version_reads_as_what_is_there() -> None:
    status = {"slots": 2, "lanes": [{"tenant": "a", "closed_by": {"cause": "memory", "until": 0}}], "new": 1}
    found = dispatcher_of("w", "llm", NOW, status)
    assert (found.slots, found.running, found.lanes[0].tenant, found.lanes[0].mean_seconds) == (2, 0, "a", None)
    assert found.lanes[0].closed_by == Closure("memory", "", "", datetime(1970, 1, 1, tzinfo=UTC))
