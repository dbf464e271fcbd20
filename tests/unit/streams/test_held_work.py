"""Held work: released in time and in order, cancelled on request, and never twice by mistake."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain import decide, holds
from domain.configuration import Configuration, apply
from domain.states import TaskStatus
from domain.task import TaskState, evolve
from schemas.codec import encode
from schemas.commands import CancelTask, ChangePriority
from schemas.configuration import DispatchPaused, DispatchResumed, ModelDefined, ModelStatusSet
from schemas.events import TaskCancelled, TaskHeld, TaskPriorityChanged, TaskQueued, TaskSubmitted
from schemas.models import ModelDefinition
from streams import held_work, leading, topics, wishes
from streams.admission import Admission
from streams.held_work import HeldWork
from streams.log import LogUnavailable
from streams.state_header import STATE_HEADER, state_said
from streams.watermark import Watermark
from tests.support.memory_world import MemoryWorld

AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
SOON = AT + timedelta(minutes=1)
BOUND = 4


@pytest.fixture
def world() -> MemoryWorld:
    """A world in which everything works."""
    return MemoryWorld()


@pytest.fixture
def service(world: MemoryWorld) -> HeldWork:
    """The service, with short queues."""
    return HeldWork(world.log, world.read_model, Admission(BOUND), ("cpu", "io"))


def task(task_id: str, resource_class: str = "cpu") -> TaskSubmitted:
    kind = {"cpu": "echo", "io": "fetch"}[resource_class]
    return TaskSubmitted(
        task_id=task_id, occurred_at=AT, type=kind, resource_class=resource_class, routing_key=task_id, run_at=SOON
    )


def hold(world: MemoryWorld, *tasks: TaskSubmitted, until: datetime = SOON) -> None:
    world.happens(*(held_work.held(each, encode(each), "run_at", until, AT) for each in tasks))


def state(world: MemoryWorld, task_id: str) -> TaskState:
    world.read_model.project()
    return world.read_model.states[task_id]


async def test_a_task_goes_on_when_its_time_has_come(world: MemoryWorld, service: HeldWork) -> None:
    hold(world, task("a"))
    await service.turn(AT)
    assert not world.log.submissions
    await service.turn(SOON)
    assert world.log.records["tasks-cpu-normal"] == [task("a")]


async def test_a_turn_asks_little_while_nothing_is_held(world: MemoryWorld, service: HeldWork) -> None:
    await world.log.submit(task("a"))
    await service.turn(SOON)
    assert set(world.read_model.calls) == {"hold_reasons", "unfinished_steps"}


async def test_what_was_put_aside_for_room_stands_in_nobodys_way_once_nothing_is_held(service: HeldWork) -> None:
    service.put_aside("cpu")
    assert service.room("cpu") == 0
    await service.turn(SOON)
    assert service.room("cpu") == BOUND


async def test_a_task_that_is_still_shown_as_held_is_not_released_again(world: MemoryWorld, service: HeldWork) -> None:
    hold(world, task("a"))
    for _ in range(3):
        await service.turn(SOON)
    assert len(world.log.submissions) == 1
    assert state(world, "a").status is TaskStatus.HELD


async def test_no_more_is_released_than_there_is_room_for(world: MemoryWorld, service: HeldWork) -> None:
    names = [f"t{number}" for number in range(7)]
    for number, name in enumerate(names):
        hold(world, task(name), until=SOON - timedelta(seconds=10 - number))
    hold(world, task("other", "io"))
    for _ in range(3):
        await service.turn(SOON)
    released = [each.task_id for each in world.log.records["tasks-cpu-normal"]]
    assert released == names[:BOUND]
    assert [each.task_id for each in world.log.records["tasks-io-normal"]] == ["other"]
    started = [TaskQueued(task_id=name, occurred_at=SOON, epoch=1, sequence=1) for name in released]
    world.happens(*started)
    await service.turn(SOON)
    assert len(world.log.records["tasks-cpu-normal"]) == BOUND, "queued ones still fill the queue"


async def test_who_comes_while_others_wait_for_room_waits_behind_them(world: MemoryWorld, service: HeldWork) -> None:
    assert service.room("cpu") == BOUND
    hold(world, *(task(f"t{number}") for number in range(BOUND + 1)))
    await service.turn(SOON)
    assert (service.room("cpu"), service.room("io")) == (0, BOUND)
    service.put_aside("io")
    assert service.room("io") == 0
    await service.turn(SOON)
    assert service.room("io") == BOUND


async def test_a_cancel_ends_a_held_task(world: MemoryWorld, service: HeldWork) -> None:
    hold(world, task("a"), task("b"))
    service.ask(CancelTask(task_id="a", requested_at=AT, reason="no longer wanted"))
    for _ in range(2):
        await service.turn(AT)
    ends = [fact for fact in world.log.records[topics.LIFECYCLE] if isinstance(fact, TaskCancelled)]
    assert [(fact.task_id, fact.reason, fact.version) for fact in ends] == [("a", "no longer wanted", (1, 0, 2))]
    assert state(world, "a").status is TaskStatus.CANCELLED
    await service.turn(SOON)
    assert [each.task_id for each in world.log.submissions] == ["b"]


async def test_a_cancel_that_comes_before_the_hold_counts(world: MemoryWorld, service: HeldWork) -> None:
    service.ask(CancelTask(task_id="a", requested_at=AT))
    for _ in range(wishes.LOOK_UPS_MAX + 1):
        await service.turn(AT)
    hold(world, task("a"))
    await service.turn(SOON)
    assert not world.log.submissions
    assert state(world, "a").status is TaskStatus.CANCELLED


async def test_a_cancel_of_another_run_or_of_a_task_that_is_not_held_does_nothing(
    world: MemoryWorld, service: HeldWork
) -> None:
    hold(world, task("a"))
    service.ask(CancelTask(task_id="a", requested_at=AT, run=2))
    service.ask(CancelTask(task_id="nobody", requested_at=AT))
    await service.turn(AT)
    assert len(world.log.records[topics.LIFECYCLE]) == 1


async def test_a_released_task_is_no_longer_ours_to_cancel(world: MemoryWorld, service: HeldWork) -> None:
    hold(world, task("a"))
    await service.turn(SOON)
    service.ask(CancelTask(task_id="a", requested_at=SOON))
    await service.turn(SOON)
    assert len(world.log.records[topics.LIFECYCLE]) == 1


async def test_an_outage_of_the_log_loses_nothing(world: MemoryWorld, service: HeldWork) -> None:
    hold(world, task("a"))
    world.log.down = True
    with pytest.raises(LogUnavailable):
        await service.turn(SOON)
    world.log.down = False
    await service.turn(SOON)
    assert len(world.log.submissions) == 1


def test_a_retried_task_is_held_as_its_own_run() -> None:
    again = TaskSubmitted(
        task_id="t", occurred_at=AT, type="order", resource_class="cpu", routing_key="t", run=3, attempts_before=2
    )
    assert held_work.held(again, encode(again), "queue_full", AT, AT).run == 3


async def test_only_the_leader_moves_tasks_and_another_may_become_it(
    world: MemoryWorld, service: HeldWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = asyncio.Event()
    hold(world, task("a"), until=AT)
    asked: list[bool] = []

    def leads() -> bool:
        """Not at first, then once."""
        assert not world.log.submissions, "released by one that does not lead"
        asked.append(len(asked) > 1)
        if asked[-1]:
            stop.set()
        return asked[-1]

    monkeypatch.setattr(leading, "POLL_INTERVAL_SECONDS", 0.001)
    lead = leading.Lead(leads, Watermark(lambda: world.broker.ends(()), world.read_model.projected))
    await asyncio.wait_for(leading.take_turns([service], stop, lead), 10)
    assert asked == [False, False, True]
    assert world.log.records["tasks-cpu-normal"] == [task("a")]


async def test_one_that_does_not_lead_sees_that_what_it_put_aside_has_moved_on(
    world: MemoryWorld, service: HeldWork
) -> None:
    leader = HeldWork(world.log, world.read_model, Admission(BOUND), ("cpu", "io"))
    await service.watch(AT)
    hold(world, task("a"), until=AT)
    service.put_aside("cpu")
    await service.watch(AT)
    assert service.room("cpu") == 0
    await leader.turn(AT)
    world.happens(TaskQueued(task_id="a", occurred_at=AT, epoch=1, sequence=1))
    await service.watch(AT)
    assert service.room("cpu") == BOUND


def owned_hold(world: MemoryWorld, reason: str, **fields: Any) -> TaskState:
    """A task that its owner has put aside after a failed attempt: epoch 3, one attempt used."""
    submission = replace(task("a"), run_at=None, **fields)
    world.log.records["tasks-cpu-normal"].append(submission)
    state = evolve(TaskState(task_id="a"), submission)
    for command in (
        decide.Start(at=AT, epoch=3, worker="w"),
        decide.Fail(at=AT, epoch=3, code="busy", detail="", retryable=True),
        decide.Hold(at=AT, epoch=3, reason=reason, until=None, submission=encode(submission)),
    ):
        (fact,) = decide.decide(command, state)
        world.happens(fact)
        state = evolve(state, fact)
    return state


PAUSED = DispatchPaused(change_id="1", changed_at=AT, scope="class", name="cpu")
RESUMED = DispatchResumed(change_id="2", changed_at=AT, scope="class", name="cpu")


async def test_a_paused_task_goes_on_when_nothing_pauses_it_and_takes_its_attempts_along(
    world: MemoryWorld, service: HeldWork
) -> None:
    state = owned_hold(world, holds.paused("class", "cpu"))
    await service.turn(SOON)
    assert len(world.log.submissions) == 1, "before the registry is read nobody knows"
    service.configure(apply(Configuration(), PAUSED))
    await service.turn(AT + timedelta(days=30))
    assert len(world.log.submissions) == 1
    service.configure(apply(apply(Configuration(), PAUSED), RESUMED))
    for _ in range(2):
        await service.turn(AT + timedelta(days=30))
    assert len(world.log.submissions) == 2
    ((topic, key, headers),) = world.log.envelopes
    assert (topic, key) == ("tasks-cpu-normal", b"a")
    said = state_said(headers, task("a"))
    assert (said.version, said.attempt, said.attempts_used, said.status) == (state.version, 1, 1, TaskStatus.HELD)


async def test_a_task_that_is_held_again_before_anybody_saw_it_go_is_released_again(
    world: MemoryWorld, service: HeldWork
) -> None:
    """Found by the chaos suite: an outage of the broker lay between both holds, and the task waited for ever."""
    hold(world, task("a"))
    service.configure(apply(Configuration(), PAUSED))
    await service.turn(SOON)
    assert len(world.log.submissions) == 1
    reason, submission = holds.paused("class", "cpu"), encode(task("a"))
    world.happens(
        TaskHeld(task_id="a", occurred_at=SOON, epoch=7, sequence=1, reason=reason, until=None, submission=submission)
    )
    await service.turn(SOON)
    assert len(world.log.submissions) == 1
    service.configure(apply(apply(Configuration(), PAUSED), RESUMED))
    await service.turn(SOON)
    await service.turn(SOON)
    assert len(world.log.submissions) == 2


async def test_a_task_of_an_offline_model_waits_until_it_is_back(world: MemoryWorld, service: HeldWork) -> None:
    owned_hold(world, holds.model_offline("m"))
    definition = ModelDefinition(name="m", path="demo").model_dump_json()
    model = ModelDefined(change_id="1", changed_at=AT, name="m", definition=definition)
    offline = ModelStatusSet(change_id="2", changed_at=AT, name="m", status="offline")
    away = apply(apply(Configuration(), model), offline)
    service.configure(away)
    await service.turn(SOON)
    assert not world.log.envelopes
    service.configure(apply(away, replace(offline, status="online")))
    await service.turn(SOON)
    assert len(world.log.envelopes) == 1


async def test_what_was_never_owned_is_released_without_more_words(world: MemoryWorld, service: HeldWork) -> None:
    hold(world, task("a"))
    await service.turn(SOON)
    ((_, _, headers),) = world.log.envelopes
    assert STATE_HEADER not in headers


async def test_a_cancel_of_what_an_owner_held_counts_after_the_hold(world: MemoryWorld, service: HeldWork) -> None:
    owned_hold(world, holds.paused("class", "cpu"))
    service.ask(CancelTask(task_id="a", requested_at=AT))
    await service.turn(AT)
    ended = state(world, "a")
    assert (ended.status, ended.version) == (TaskStatus.CANCELLED, (1, 3, 4))


async def test_another_priority_moves_a_held_task_to_another_band(world: MemoryWorld, service: HeldWork) -> None:
    hold(world, task("a"))
    for priority in (1, 3):
        service.ask(ChangePriority(task_id="a", requested_at=AT, priority=priority))
    for _ in range(3):
        await service.turn(AT)
    changes = [fact for fact in world.log.records[topics.LIFECYCLE] if isinstance(fact, TaskPriorityChanged)]
    assert [(fact.priority, fact.version) for fact in changes] == [(3, (1, 0, 2))], "the latest wish, once"
    assert state(world, "a").status is TaskStatus.HELD
    await service.turn(SOON)
    ((topic, _, headers),) = world.log.envelopes
    assert topic == "tasks-cpu-high"
    assert state_said(headers, task("a")).priority == 3


async def test_a_wish_that_comes_with_a_lagging_projector_is_not_lost_on_release(
    world: MemoryWorld, service: HeldWork
) -> None:
    hold(world, task("a"))
    await service.turn(AT)
    world.read_model.projecting = False
    service.ask(ChangePriority(task_id="a", requested_at=AT, priority=3))
    await service.turn(SOON)
    ((topic, _, _),) = world.log.envelopes
    assert topic == "tasks-cpu-high"


async def test_one_that_comes_to_lead_releases_nothing_in_a_state_that_its_predecessor_has_changed(
    world: MemoryWorld, service: HeldWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take the task for one that nobody has moved on, and two facts would get the same place in its order."""
    held = owned_hold(world, holds.paused("class", "cpu"))
    await service.turn(AT)
    world.read_model.projecting = False
    service.ask(ChangePriority(task_id="a", requested_at=AT, priority=3))
    await service.turn(AT)
    successor = HeldWork(world.log, world.read_model, Admission(BOUND), ("cpu", "io"))
    successor.configure(Configuration())
    stop, turns = asyncio.Event(), 0

    def leads() -> bool:
        nonlocal turns
        turns += 1
        world.read_model.projecting = turns > 3
        assert world.read_model.projecting or not world.log.envelopes
        if world.log.envelopes:
            stop.set()
        return True

    monkeypatch.setattr(leading, "POLL_INTERVAL_SECONDS", 0.001)
    recorded = topics.recorded_topics(("cpu", "io"))
    lead = leading.Lead(leads, Watermark(lambda: world.broker.ends(recorded), world.read_model.projected))
    await asyncio.wait_for(leading.take_turns([successor], stop, lead), 10)
    ((topic, _, headers),) = world.log.envelopes
    said = state_said(headers, task("a"))
    assert (topic, said.version) == ("tasks-cpu-high", (held.run, held.epoch, held.sequence + 1))


async def test_a_held_task_expires_at_its_deadline(world: MemoryWorld, service: HeldWork) -> None:
    owned_hold(world, holds.paused("class", "cpu"), deadline_at=SOON)
    service.configure(apply(Configuration(), PAUSED))
    await service.turn(SOON - timedelta(seconds=1))
    assert state(world, "a").status is TaskStatus.HELD
    await service.turn(SOON)
    ended = state(world, "a")
    assert (ended.status, ended.error_detail) == (
        TaskStatus.EXPIRED,
        "its deadline passed while it was held (paused: class cpu)",
    )
