"""The configuration of running workers changes, on a real broker: strategies, pauses, priorities."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from typing import Any

import psycopg
import pytest

from domain.dispatch_status import dispatcher_of
from domain.states import TaskStatus
from projections.database import connect
from projections.migrate import migrate
from schemas import configuration as changes
from schemas import events
from schemas.commands import ChangePriority
from tests.support.memory_worker import until
from tests.support.scenes import Scene, eventually, working

pytestmark = [pytest.mark.external_service, pytest.mark.slow]


def said() -> dict[str, Any]:
    """What each change carries."""
    return {"change_id": uuid.uuid4().hex, "changed_at": datetime.now(UTC)}


def _completed(scene: Scene, number: int) -> bool:
    return scene.count(TaskStatus.COMPLETED) >= number


def starts(scene: Scene) -> list[events.TaskStarted]:
    found = [fact for facts in scene.facts.values() for fact in facts if isinstance(fact, events.TaskStarted)]
    return sorted(found, key=lambda fact: fact.occurred_at)


async def test_a_switch_under_load_loses_nothing_and_runs_nothing_twice(scene: Scene) -> None:
    names = ("fair", "shortest_job_first", "round_robin", "deadline", "fifo", "preemptive", "priority")
    async with working(scene, slots=4) as config:
        for number, name in enumerate(names):
            await scene.submit(60, name=f"b{number}", priority=number % 3 + 1, seconds=0.01)
            change = changes.StrategySelected(resource_class=scene.resource_class, strategy=name, **said())
            await scene.log.change(change)
            await until(partial(_completed, scene, 30 * (number + 1)), seconds=60)
        await scene.until_all(TaskStatus.COMPLETED, seconds=120)

        async def all_committed() -> bool:
            return await scene.lag(config) == 0

        await eventually(all_committed)
    assert set(Counter(fact.task_id for fact in starts(scene)).values()) == {1}
    assert len({fact.strategy for fact in starts(scene)}) > 1


async def test_what_is_paused_when_a_worker_begins_does_not_start(scene: Scene) -> None:
    pause = changes.DispatchPaused(scope="class", name=scene.resource_class, **said())
    await scene.log.change(pause)
    tasks = await scene.submit(20)
    async with working(scene) as config:
        await until(lambda: scene.count(TaskStatus.HELD, tasks) == 20, seconds=60)

        async def all_committed() -> bool:
            return await scene.lag(config) == 0

        await eventually(all_committed)
    assert not starts(scene)
    assert {scene.types(task_id)[0] for task_id in tasks} == {"held"}
    await scene.log.change(changes.DispatchResumed(scope="class", name=scene.resource_class, **said()))


async def test_a_priority_is_changed_by_a_command(scene: Scene) -> None:
    async with working(scene, slots=1):
        (first,) = await scene.submit(name="first", seconds=3.0)
        await until(lambda: scene.states[first].status is TaskStatus.RUNNING, seconds=30)
        await scene.submit(5, name="normal")
        (late,) = await scene.submit(name="late", priority=1)
        await scene.log.command(ChangePriority(task_id=late, requested_at=datetime.now(UTC), priority=3))
        await scene.until_all(TaskStatus.COMPLETED)
    assert [fact.task_id for fact in starts(scene)][:2] == [first, late]
    assert "priority_changed" in scene.types(late)


async def test_a_worker_says_what_waits_in_which_lane(scene: Scene, postgres: str) -> None:
    await migrate(postgres)
    async with working(scene, slots=1, database_url=postgres):
        (running,) = await scene.submit(name="long", seconds=60.0)
        await until(lambda: scene.states[running].status is TaskStatus.RUNNING, seconds=30)
        limit = changes.LimitSet(scope="type", name="step", concurrency=1, **said())
        await scene.log.change(limit)
        await scene.submit(3, name="waiting")

        async def is_said() -> bool:
            rows = await _rows(postgres, scene.resource_class)
            return any(lane.waiting == 3 for row in rows for lane in row.lanes)

        await eventually(is_said)
        (row,) = await _rows(postgres, scene.resource_class)
        (lane,) = row.lanes
        assert (row.slots, row.running, row.strategy) == (1, 1, "priority")
        assert (lane.task_type, lane.tenant, lane.waiting, lane.running) == ("step", "default", 3, 1)
    assert not await _rows(postgres, scene.resource_class)
    await scene.log.change(changes.LimitSet(scope="type", name="step", **said()))


async def _rows(postgres: str, resource_class: str) -> list[Any]:
    connection: psycopg.AsyncConnection = await connect(postgres)
    async with connection:
        found = await connection.execute(
            "SELECT worker, resource_class, updated_at, status FROM coordination.dispatch_status"
            " WHERE resource_class = %s",
            [resource_class],
        )
        return [dispatcher_of(*row) for row in await found.fetchall()]
