"""Whole workers on a real broker: started, stopped, killed, frozen, joined and left."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from datetime import UTC, datetime

import pytest

from agents.worker import run_worker
from domain.states import TaskStatus
from schemas import events
from schemas.commands import CancelTask
from streams.faust_stream import FaustShardStream
from tests.support.memory_worker import until
from tests.support.scenes import Scene, eventually, working
from tests.support.worker_main import config_of, registry_of

pytestmark = [pytest.mark.external_service, pytest.mark.slow]


async def test_tasks_of_all_bands_run_and_their_records_are_committed(scene: Scene) -> None:
    for priority in (1, 2, 3):
        await scene.submit(10, name=f"p{priority}", priority=priority)
    async with working(scene) as config:
        await scene.until_all(TaskStatus.COMPLETED)

        async def all_committed() -> bool:
            return await scene.lag(config) == 0

        await eventually(all_committed)
    assert {tuple(scene.types(task_id)) for task_id in scene.states} == {("started", "completed")}


async def test_a_stopped_worker_hands_back_and_its_successor_goes_on_at_once(scene: Scene) -> None:
    """Orderly: no attempt is charged, and nobody waits for a session to run out."""
    (slow,) = await scene.submit(seconds=30.0, attempts_max=1)
    async with working(scene, drain_seconds=0.2):
        await until(lambda: scene.states[slow].status is TaskStatus.RUNNING, seconds=90)
    await until(lambda: scene.types(slow) == ["started", "released"], seconds=90)
    async with working(scene, drain_seconds=0.2):
        await until(lambda: scene.types(slow)[2:3] == ["started"], seconds=90)
    assert scene.states[slow].attempts_lost == 0


async def test_a_running_task_is_cancelled(scene: Scene) -> None:
    (task,) = await scene.submit(seconds=60.0)
    async with working(scene):
        await until(lambda: scene.states[task].status is TaskStatus.RUNNING, seconds=90)
        await scene.log.command(CancelTask(task_id=task, requested_at=datetime.now(UTC)))
        await scene.until_all(TaskStatus.CANCELLED, seconds=90)
    assert scene.types(task) == ["started", "cancel_requested", "cancelled"]


async def test_a_cancel_from_before_the_worker_counts(scene: Scene) -> None:
    (task,) = await scene.submit(name="dead", seconds=1.0)
    await scene.log.command(CancelTask(task_id=task, requested_at=datetime.now(UTC)))
    async with working(scene):
        await until(lambda: scene.states[task].terminal, seconds=90)
    assert scene.states[task].status is TaskStatus.CANCELLED


async def test_a_high_task_behind_two_thousand_low_ones_starts_next(scene: Scene) -> None:
    low = await scene.submit(2_000, name="low", priority=1, seconds=0.05)
    async with working(scene, slots=2):
        await until(lambda: scene.count(TaskStatus.COMPLETED, low) >= 20, seconds=90)
        before = scene.count(TaskStatus.COMPLETED, low)
        (high,) = await scene.submit(name="high", priority=3)
        await scene.until_all(TaskStatus.COMPLETED, [high], seconds=90)
        (start,) = [fact for fact in scene.facts[high] if isinstance(fact, events.TaskStarted)]
        # How long the broker and a busy machine take to bring the record is not the dispatcher's doing.
        entered, started = start.entered_at, start.occurred_at
        assert entered is not None
        between = [
            fact
            for task_id in low
            for fact in scene.facts[task_id]
            if isinstance(fact, events.TaskStarted) and entered <= fact.occurred_at < started
        ]
        # As many as there are slots, and those of a look that had begun.
        assert len(between) <= 4
        assert before < 1_900


async def test_a_retry_far_off_does_not_hold_back_the_committed_offset(scene: Scene) -> None:
    (late,) = await scene.submit(name="late", then="later")
    lag = {"trailing_seconds_max": 0.5, "check_seconds": 0.2}
    async with working(scene, lag=lag) as config:
        await until(lambda: scene.states[late].status is TaskStatus.RETRY_SCHEDULED, seconds=90)
        await scene.submit(40, name="after")
        await scene.until_all(TaskStatus.COMPLETED, [task for task in scene.states if task != late])

        async def only_the_copy_is_left() -> bool:
            return await scene.lag(config) == 1

        await eventually(only_the_copy_is_left)
    state = scene.states[late]
    async with working(scene):
        (other,) = await scene.submit(name="other")
        await scene.until_all(TaskStatus.COMPLETED, [other], seconds=90)
        await scene.log.command(CancelTask(task_id=late, requested_at=datetime.now(UTC)))
        await scene.until_all(TaskStatus.CANCELLED, [late], seconds=90)
    assert scene.types(late) == ["started", "retry_scheduled", "cancelled"]
    assert state.due_at is not None


async def test_a_killed_worker_loses_nothing(scene: Scene) -> None:
    await scene.submit(300, seconds=0.03)
    async with scene.worker() as first:
        await until(lambda: scene.count(TaskStatus.COMPLETED) >= 60, seconds=90)
        first.kill()
        await first.wait()
        assert scene.count(TaskStatus.COMPLETED) < 300
    async with scene.worker():
        await scene.until_all(TaskStatus.COMPLETED)
    started = Counter(fact.TYPE for facts in scene.facts.values() for fact in facts)
    assert started["task.attempt_lost"] <= 4
    assert started["task.started"] == 300 + started["task.attempt_lost"]


async def test_a_task_that_kills_its_worker_ends_failed_and_its_neighbours_complete(scene: Scene) -> None:
    neighbours = await scene.submit(12, name="n", seconds=0.3)
    (killer,) = await scene.submit(name="killer", then="die", seconds=0.2, attempts_max=2)
    deaths = 0
    while not scene.states[killer].terminal:
        async with scene.worker() as process:
            dead = asyncio.create_task(process.wait())
            ended = asyncio.create_task(until(lambda: scene.states[killer].terminal, seconds=60))
            await asyncio.wait([dead, ended], return_when=asyncio.FIRST_COMPLETED)
            deaths += dead.done()
            if ended.done():
                await scene.until_all(TaskStatus.COMPLETED, neighbours)
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)
        await dead
    assert deaths == 2
    assert scene.ends[killer] == [TaskStatus.FAILED]
    assert scene.states[killer].error_code == "attempt_lost"


async def test_workers_join_and_leave_under_load(scene: Scene) -> None:
    await scene.submit(800, seconds=0.15, attempts_max=20)
    async with scene.worker() as first:
        await until(lambda: scene.count(TaskStatus.COMPLETED) >= 40, seconds=90)
        async with scene.worker():
            await until(lambda: pids(scene) >= 2, seconds=90)
            first.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(first.wait(), 15) == 0
            async with scene.worker():
                await scene.until_all(TaskStatus.COMPLETED, seconds=90)
    assert pids(scene) >= 2


def pids(scene: Scene) -> int:
    """Number of processes that have completed something."""
    return len({json.loads(state.result)["pid"] for state in scene.states.values() if state.result})


async def test_a_frozen_worker_changes_nothing_when_it_wakes(scene: Scene) -> None:
    """Its session has run out, another worker has taken over, and it still holds a running task and its result."""
    tasks = await scene.submit(3, seconds=4.0)
    async with scene.worker() as zombie:
        await until(lambda: scene.count(TaskStatus.RUNNING) == 3, seconds=90)
        zombie.send_signal(signal.SIGSTOP)
        async with scene.worker():
            await until(lambda: any(scene.types(task).count("started") == 2 for task in tasks), seconds=40)
            zombie.send_signal(signal.SIGCONT)
            await scene.until_all(TaskStatus.COMPLETED, seconds=60)
            await scene.submit(20, name="after")
            await scene.until_all(TaskStatus.COMPLETED, seconds=60)
    for task in tasks:
        first = next(fact for fact in scene.facts[task] if isinstance(fact, events.TaskStarted))
        counted = next(
            fact
            for fact in scene.facts[task]
            if isinstance(fact, events.TaskCompleted) and fact.result == scene.states[task].result
        )
        assert counted.epoch > first.epoch, "the frozen worker's own attempt does not count"


async def test_a_worker_that_fails_says_so_before_it_stops_what_may_hang(scene: Scene) -> None:
    """Faust's consumer, once crashed, stops never: its process must have been told to end by then."""
    said: list[str] = []

    class Broken(FaustShardStream):
        async def ended(self) -> None:
            raise RuntimeError("the consumer has crashed")

        async def stop(self) -> None:
            said.append("stops")
            await super().stop()

    config = config_of(scene.kafka, scene.resource_class)
    registry = registry_of(scene.resource_class)
    with pytest.raises(RuntimeError, match="crashed"):
        await run_worker(
            config, registry, asyncio.Event(), make_stream=Broken, on_failure=lambda: said.append("has failed")
        )
    assert said == ["has failed", "stops"]
