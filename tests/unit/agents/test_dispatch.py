"""The core of a worker, whole, on a log and a group in memory."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from agents import dispatcher
from domain.retry import RetryPolicy
from domain.states import TaskStatus
from domain.task import fold
from schemas import events
from streams import topics
from tests.support.given import AT
from tests.support.memory_worker import World, submission_of, until, worker

ALL = {0, 1, 2, 3}


async def test_a_task_starts_and_ends_once_and_its_record_is_committed() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t")
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["started", "completed"]
    started = world.log.facts("t")[0]
    assert isinstance(started, events.TaskStarted)
    assert (started.attempt, started.handler_version) == (1, 7)


async def test_the_start_is_in_the_log_before_the_handler_runs() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        world.log.withhold()
        submitting = asyncio.create_task(world.submit("t", "wait"))
        await asyncio.sleep(0)
        world.log.release()
        world.log.withhold()
        await submitting
        await until(lambda: len(w.outbox) == 1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not world.script.started
        world.log.release()
        await until(lambda: world.script.started)
        assert world.log.types("t") == ["started"]


async def test_a_record_is_committed_only_when_the_end_is_in_the_log() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "wait")
        await until(lambda: world.script.running)
        world.log.withhold()
        world.script.let_go("t")
        await until(lambda: len(w.outbox) == 1)
        assert world.lag == 1
        world.log.release()
        await until(lambda: world.lag == 0)


async def test_a_failed_attempt_is_repeated_when_due() -> None:
    world = World()
    async with worker(world, retry=RetryPolicy(delay_seconds=0.02)) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "fail-once")
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["started", "retry_scheduled", "started", "completed"]
    _, scheduled, again, _ = world.log.facts("t")
    assert isinstance(scheduled, events.TaskRetryScheduled)
    assert again.occurred_at >= scheduled.due_at


async def test_a_task_that_is_not_due_does_not_hold_up_the_others() -> None:
    world = World()
    async with worker(world, slots=1, retry=RetryPolicy(delay_seconds=3600)) as w:
        await world.group.rebalance({w.stream: ALL})
        while not w.owner.entries or w.window.next_at() is None:
            await world.submit("late", "fail")
            await until(lambda: "late" in world.script.started and not world.script.running)
            await asyncio.sleep(0.01)
        await world.submit("t")
        await until(lambda: world.log.types("t") == ["started", "completed"])
        assert (w.window.next_at() or AT) > datetime.now(UTC)


@pytest.mark.parametrize(
    ("then", "code"), [("refuse", "refused"), ("fail", "busy"), ("cancel-itself", "handler_error")]
)
async def test_a_task_ends_failed_with_the_reason_of_its_last_attempt(then: str, code: str) -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", then)
        await until(lambda: world.lag == 0)
    state = fold("t", world.log.facts("t"))
    assert (state.status, state.error_code) == (TaskStatus.FAILED, code)
    assert len(world.script.started) == (1 if then == "refuse" else 2)


async def test_an_attempt_that_takes_too_long_is_stopped() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "wait", timeout_seconds=0.01, attempts_max=1)
        await until(lambda: world.lag == 0)
    state = fold("t", world.log.facts("t"))
    assert (state.status, state.error_code) == (TaskStatus.FAILED, "timeout")
    assert world.script.cancelled == ["t"]


async def test_a_shutdown_hands_back_what_runs_at_no_cost() -> None:
    world = World()
    async with worker(world, slots=1) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "wait", attempts_max=1)
        await until(lambda: world.script.running)
        await w.dispatcher.drain(0.01)
        await w.outbox.drained()
        assert not w.dispatcher.active
    assert world.log.types("t") == ["started", "released"]
    world.script.let_go("t")
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["started", "released", "started", "completed"]


async def test_a_shutdown_hands_back_a_task_whose_start_is_on_its_way() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.log.submit(submission_of("t"))
        world.log.withhold()
        world.group.deliver()
        await until(lambda: len(w.outbox) == 1)
        await w.dispatcher.drain(0.01)
        world.log.release()
        await w.outbox.drained()
    assert world.log.types("t") == ["started", "released"]
    assert not world.script.started


@pytest.mark.parametrize("value", [None, b"{}", b"\xc3\x01" + bytes(20)])
async def test_an_unreadable_record_becomes_a_dead_letter_and_blocks_nothing(value: bytes | None) -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.log.append("tasks-cpu-normal", value, b"k", [("own", b"header")], partition=1)
        await world.submit("t")
        await until(lambda: world.lag == 0)
    ((_, (letter,)),) = [item for item in world.log.partitions.items() if item[0][0] == topics.DEAD_LETTERS]
    headers = dict(letter.headers)
    assert letter.value == value
    assert (headers["own"], headers["penstock-origin-topic"]) == (b"header", b"tasks-cpu-normal")
    assert headers["penstock-reason"]
    assert world.log.types("t") == ["started", "completed"]


async def test_work_of_another_class_becomes_a_dead_letter() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        foreign = replace(submission_of("t"), resource_class="llm")
        await world.log.send(foreign, "tasks-cpu-normal", "t")
        world.group.deliver()
        await until(lambda: world.lag == 0)
    assert not world.log.facts("t")
    assert any(topic == topics.DEAD_LETTERS for topic, _ in world.log.partitions)


async def test_a_full_band_is_stopped_and_drained_and_loses_nothing() -> None:
    world = World()
    async with worker(world, slots=1, window_size=5) as w:
        names = [f"t-{number}" for number in range(60)]
        await world.submit("blocker", "wait")
        for name in names:
            await world.log.submit(submission_of(name))
        await world.group.rebalance({w.stream: ALL})
        await until(lambda: world.script.running)
        assert w.stream.stopped_bands
        await world.submit("urgent", priority=3)
        world.script.let_go("blocker")
        await until(lambda: world.lag == 0)
    assert world.script.started[:2] == ["blocker", "urgent"]
    assert sorted(world.script.started[2:]) == sorted(names)
    assert w.stream.ever_full
    assert not w.stream.stopped_bands


async def test_a_start_does_not_wait_behind_the_notices_of_a_backlog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "NOTICE_SECONDS", 0.0)
    monkeypatch.setattr(dispatcher, "NOTICES_MAX", 5)
    world = World()
    async with worker(world, slots=1) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("first", "wait")
        await until(lambda: world.script.running)
        for number in range(50):
            await world.log.submit(submission_of(f"t-{number}"))
        world.log.withhold()
        world.group.deliver()
        w.dispatcher.wake()
        await until(lambda: len(w.outbox) == 5)
        for _ in range(20):
            w.dispatcher.wake()
            await asyncio.sleep(0)
        assert len(w.outbox) == 5
        world.log.release()

        def all_noticed() -> bool:
            w.dispatcher.wake()
            return sum(isinstance(one, events.TaskQueued) for one in world.log.facts()) >= 50

        await until(all_noticed)
