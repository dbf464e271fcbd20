"""Priorities that change while a task waits."""

from datetime import UTC, datetime, timedelta

from agents.relocation import LagBound
from domain.task import fold
from schemas.commands import CancelTask, ChangePriority
from tests.support.memory_worker import World, until, worker

ALL = {0, 1, 2, 3}
AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


def change(task_id: str, priority: int, seconds: float = 0.0, run: int = 1) -> ChangePriority:
    return ChangePriority(
        task_id=task_id, requested_at=AT + timedelta(seconds=seconds), priority=priority, run=run, reason="hurry"
    )


async def test_a_waiting_task_goes_before_others_once_it_is_more_urgent() -> None:
    world = World()
    async with worker(world, slots=1) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("first", "wait")
        await until(lambda: world.script.running)
        await world.submit("normal")
        await world.submit("t", priority=1)
        w.owner.wishes.obey(change("t", 3))
        w.owner.wishes.obey(change("t", 3))
        world.script.let_go("first")
        await until(lambda: world.lag == 0)
    assert world.script.started == ["first", "t", "normal"]
    assert world.log.types("t") == ["priority_changed", "started", "completed"]
    assert fold("t", world.log.facts("t")).priority == 3


async def test_a_change_that_comes_before_its_task_counts() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        w.owner.wishes.obey(change("t", 3))
        w.owner.wishes.obey(change("t", 1, seconds=-5))
        await world.submit("t")
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["priority_changed", "started", "completed"]
    assert fold("t", world.log.facts("t")).priority == 3


async def test_a_task_that_runs_keeps_its_priority_and_another_run_is_not_meant() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "wait")
        await until(lambda: world.script.running)
        w.owner.wishes.obey(change("t", 3))
        w.owner.wishes.obey(change("t", 3, run=2))
        world.script.let_go("t")
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["started", "completed"]


async def test_a_changed_priority_outlives_a_relocation_and_its_worker() -> None:
    world = World()
    async with worker(world, slots=1, lag=LagBound(trailing_seconds_max=0.0)) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("first", "wait")
        await until(lambda: world.script.running)
        await world.submit("t", priority=1)
        w.owner.wishes.obey(change("t", 3))
        await w.outbox.drained()
        assert await w.relocation._relocate(w.owner.entries["t"])
        world.group.deliver()
    for (topic, _), part in world.log.partitions.items():
        if topic == "task-lifecycle":
            part.clear()  # too old for the next recovery
    async with worker(world, slots=1) as w:
        await world.group.rebalance({w.stream: ALL})
        assert w.owner.entries["t"].priority == 3


async def test_a_cancel_among_the_commands_is_obeyed() -> None:
    world = World()
    async with worker(world, slots=1) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("first", "wait")
        await until(lambda: world.script.running)
        await world.submit("t")
        w.owner.wishes.obey(CancelTask(task_id="t", requested_at=AT))
        world.script.let_go("first")
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["cancelled"]
