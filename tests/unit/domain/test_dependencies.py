"""What becomes of a task that waits for others."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.dependencies import (
    Dependency,
    GiveUp,
    Go,
    Stop,
    Verdict,
    Wait,
    not_found,
    sources,
    stopped,
    verdict,
    with_results,
)
from domain.states import TERMINAL, TaskStatus
from schemas.codec import decode, encode
from schemas.events import TaskSubmitted

AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
S = TaskStatus
FAILED = tuple(sorted(TERMINAL - {S.COMPLETED, S.CANCELLED}))


def task(*depends_on: str, payload: Any = None, **fields: Any) -> TaskSubmitted:
    return TaskSubmitted(
        task_id="me",
        occurred_at=AT,
        type="echo",
        resource_class="cpu",
        routing_key="me",
        depends_on=depends_on,
        payload=json.dumps(payload or {}),
        **fields,
    )


def judged(submission: TaskSubmitted, **states: TaskStatus) -> Verdict:
    return verdict(submission, {name: Dependency(name, status, "broken") for name, status in states.items()})


def test_it_waits_until_all_have_ended() -> None:
    assert judged(task("a", "b"), a=S.COMPLETED, b=S.RUNNING) == Wait(("b",))
    assert judged(task("a", "b"), a=S.COMPLETED) == Wait(("b",)), "an unknown one may still come"
    assert judged(task("a", "b"), a=S.COMPLETED, b=S.COMPLETED) == Go()


def test_unknown_ids_are_named_as_far_as_there_is_room() -> None:
    assert not_found(["a", "b"], 1.5).detail == "it depends on what nobody submitted within 1.5 s: a, b"
    assert not_found([str(each) for each in range(12)], 60).detail.endswith(": 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more")


@pytest.mark.parametrize("status", FAILED)
def test_it_fails_as_soon_as_one_does_not_complete(status: TaskStatus) -> None:
    found = judged(task("a", "b"), a=S.RUNNING, b=status)
    assert found == GiveUp("dependency_failed", f"task b did not complete ({status}, broken)")


def test_it_is_cancelled_where_that_was() -> None:
    assert judged(task("a"), a=S.CANCELLED) == Stop("task a was cancelled")


def test_a_step_is_called_by_its_name() -> None:
    step = task("w:first", workflow_id="w")
    found = verdict(step, {"w:first": Dependency("w:first", S.FAILED, "broken")})
    assert found == GiveUp("dependency_failed", "step first (task w:first) did not complete (failed, broken)")


def test_the_step_that_began_it_is_named_however_many_lie_between() -> None:
    step = task("w:second", workflow_id="w")
    began = "step first (task w:first) did not complete (failed, broken)"
    second = Dependency("w:second", S.FAILED, "dependency_failed", began)
    assert verdict(step, {"w:second": second}) == GiveUp("dependency_failed", began)
    first = Dependency("w:first", S.FAILED, "broken")
    assert stopped("w", first) == "workflow w was stopped: step first (task w:first) did not complete"


def test_it_goes_on_all_the_same_where_its_sender_said_so() -> None:
    submission = task("a", "b", payload={"x": {"$from": "a"}, "y": {"$from": "b"}}, on_dependency_failure="continue")
    assert judged(submission, a=S.FAILED, b=S.RUNNING) == Wait(("b",))
    assert judged(submission, a=S.FAILED, b=S.COMPLETED) == Go()
    assert sources(submission) == ("a", "b")
    released = with_results(submission, {"b": "[1]"})
    assert isinstance(released, TaskSubmitted)
    assert json.loads(released.payload) == {"x": None, "y": [1]}


def test_results_take_the_place_of_references_and_the_new_word_outranks_the_old() -> None:
    submission = task("a", payload={"text": {"$from": "a#/text"}})
    released = with_results(submission, {"a": '{"text":"\\u00e9"}'})
    assert isinstance(released, TaskSubmitted)
    assert (released.payload, released.sequence) == ('{"text":"é"}', 1)
    assert released.event_id != submission.event_id
    assert decode(encode(released)) == released


def test_a_payload_without_references_stays_byte_for_byte() -> None:
    submission = task("a", payload={"text": "$from"})
    assert with_results(submission, {}) is submission


def test_a_part_that_is_missing_and_a_payload_that_grew_too_large_fail() -> None:
    submission = task("a", payload={"text": {"$from": "a#/nothing"}})
    missing = with_results(submission, {"a": "{}"})
    assert missing == GiveUp("unresolved_reference", "the result of a has nothing at /nothing")
    grown = with_results(task("a", payload=[{"$from": "a"}] * 4), {"a": json.dumps("x" * 500_000)})
    assert isinstance(grown, GiveUp)
    assert grown.code == "too_large"


@given(st.dictionaries(st.sampled_from("abcd"), st.sampled_from(TaskStatus)), st.sampled_from(["fail", "continue"]))
def test_more_news_never_takes_back_an_answer(states: dict[str, TaskStatus], policy: str) -> None:
    """What is known only of some gives an end or a start that knowing the rest does not turn around."""
    submission = task(*"abcd", on_dependency_failure=policy)
    now = judged(submission, **states)
    if not isinstance(now, Wait):
        final = {name: status for name, status in states.items() if status in TERMINAL}
        rest = dict.fromkeys("abcd", S.COMPLETED) | final
        assert type(judged(submission, **rest)) is type(now)
