"""Tasks that run for much longer than anything else takes, and bands that are full for as long.

Forty-five minutes in small: each task runs through the whole test, and every bound that a minute would reach is as
many times shorter.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from agents import vitals
from agents.watchdog import Patience
from agents.worker import WorkerConfig
from domain.states import TaskStatus
from schemas.events import TaskStarted
from streams import history
from tests.support.memory_worker import until
from tests.support.scenes import Scene, eventually, working
from tests.support.shards import partitions

pytestmark = [pytest.mark.external_service, pytest.mark.slow]

LAG = {"trailing_seconds_max": 0.5, "check_seconds": 0.2, "age_seconds_max": 3.0}


async def test_long_tasks_live_through_rebalances_and_hold_nothing_back(scene: Scene, tmp_path: Path) -> None:
    """Three rebalances: a second worker joins, leaves, and another joins. What its worker keeps goes on."""
    end = tmp_path / "end"
    tasks = await scene.submit(24, name="long", until=str(end), attempts_max=1)

    def all_run() -> bool:
        return scene.count(TaskStatus.RUNNING, tasks) == len(tasks)

    async with working(scene, slots=32, lag=LAG) as config:
        await until(all_run, what="for all to run", seconds=90)
        async with scene.worker(slots=32, lag=LAG) as second:
            await until(lambda: restarted(scene, tasks), what="for the second worker's share", seconds=90)
            await until(all_run, what="for all to run on two workers", seconds=90)
            kept = set(tasks) - restarted(scene, tasks)
            assert kept
            await others_pass(scene, config, "first")
            second.terminate()
            assert await asyncio.wait_for(second.wait(), 60) == 0
        await until(all_run, what="for all to run on the first worker again", seconds=90)
        assert kept.isdisjoint(restarted(scene, tasks))
        async with scene.worker(slots=32, lag=LAG) as third:
            await until(lambda: started_by(scene, third.pid), what="for the third worker's share", seconds=90)
            await until(all_run, what="for all to run on two workers again", seconds=90)
            await others_pass(scene, config, "second")
            end.touch()
            await scene.until_all(TaskStatus.COMPLETED, tasks, seconds=90)
            # Else the group waits for the dead one, and the first worker, which is told to leave, with it.
            third.terminate()
            assert await asyncio.wait_for(third.wait(), 60) == 0
    assert {task: scene.types(task) for task in kept if scene.types(task) != ["started", "completed"]} == {}
    assert {scene.states[task].attempts_used for task in tasks} == {1}, "a shard that moves costs no attempt"


async def others_pass(scene: Scene, config: WorkerConfig, name: str) -> None:
    """What comes later ends, is committed, and a recovery would not begin at the long ones."""
    after = await scene.submit(40, name=f"after-{name}")
    long = scene.count(TaskStatus.RUNNING)
    await scene.until_all(TaskStatus.COMPLETED, after, seconds=90)

    async def only_the_long_ones_are_left() -> bool:
        return await scene.lag(config) <= long

    async def a_recovery_begins_late() -> bool:
        backlog = await history.backlog(scene.kafka, config.group, partitions(config.membership))
        return backlog.oldest_ms is not None and time.time() - backlog.oldest_ms / 1000 < 10.0

    await eventually(only_the_long_ones_are_left, seconds=90)
    await eventually(a_recovery_begins_late, seconds=90)


def restarted(scene: Scene, tasks: list[str]) -> set[str]:
    """Tasks that were begun again."""
    return {task for task in tasks if scene.types(task).count("started") > 1}


def started_by(scene: Scene, pid: int) -> bool:
    """Whether a worker has started anything."""
    return any(
        isinstance(fact, TaskStarted) and fact.worker.endswith(f"/{pid}")
        for facts in scene.facts.values()
        for fact in facts
    )


async def test_a_worker_whose_bands_are_all_full_stays_and_drains_afterwards(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For longer than the watchdog is patient, and longer than a session."""
    monkeypatch.setattr(vitals, "CHECK_SECONDS", 0.5)
    end = tmp_path / "end"
    # A band that was full gets its next record up to 2.5 s later: Faust waits for 1 s, and an idle fetch for 1.5 s.
    patience = Patience(outside_group_seconds=5.0, unacknowledged_seconds=5.0, starved_seconds=5.0)
    blockers = await scene.submit(4, name="blocker", priority=3, until=str(end))
    async with working(scene, window_size=5, patience=patience) as config:
        await until(lambda: scene.count(TaskStatus.RUNNING, blockers) == 4, seconds=90)
        rest = [task for band in (1, 2, 3) for task in await scene.submit(400, name=f"rest-{band}", priority=band)]
        full_until = time.monotonic() + config.session_timeout_seconds + 4.0
        while time.monotonic() < full_until:
            await asyncio.sleep(0.2)
            assert scene.count(TaskStatus.RUNNING, blockers) == 4
        assert [task for task in blockers if scene.types(task) != ["started"]] == [], "it left its group"
        end.touch()
        await scene.until_all(TaskStatus.COMPLETED, [*blockers, *rest], seconds=120)

        async def all_committed() -> bool:
            return await scene.lag(config) == 0

        await eventually(all_committed, seconds=90)
    assert {tuple(scene.types(task)) for task in scene.states} == {("started", "completed")}
