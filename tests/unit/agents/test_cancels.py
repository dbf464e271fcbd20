"""Tasks that are cancelled: waiting, running, or before they have come."""

import asyncio

from domain.states import TaskStatus
from domain.task import fold
from tests.support.memory_worker import World, submission_of, until, worker

ALL = {0, 1, 2, 3}


async def test_a_cancel_ends_no_task_before_its_end_is_in_the_log() -> None:
    """The request is acknowledged while the end is only decided; a crash then must find the record again."""
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "wait")
        await until(lambda: world.script.running)
        world.log.withhold()
        w.owner.wishes.cancel("t", 1, "requested")
        await until(lambda: world.script.cancelled and len(w.outbox) == 2)
        assert w.owner.entries["t"].state.status is TaskStatus.CANCELLED
        world.log.release()
        world.log.withhold()  # the request is written, its end is not
        await until(lambda: world.log.types("t") == ["started", "cancel_requested"])
        for _ in range(20):
            await asyncio.sleep(0)
        assert world.lag == 1
        world.log.release()
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["started", "cancel_requested", "cancelled"]


async def test_a_cancel_after_a_rebalance_ends_the_attempt_that_began_before_it() -> None:
    """Request and end must be of one epoch: an end of the older one would count for nothing."""
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "wait")
        await until(lambda: world.script.running)
        await world.group.rebalance({w.stream: ALL})
        w.owner.wishes.cancel("t", 1, "requested")
        await until(lambda: world.lag == 0)
    assert fold("t", world.log.facts("t")).status is TaskStatus.CANCELLED


async def test_a_waiting_task_is_cancelled_at_once() -> None:
    world = World()
    async with worker(world, slots=1) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("first", "wait")
        await until(lambda: world.script.running)
        await world.submit("t")
        w.owner.wishes.cancel("t", 1, "requested")
        await until(lambda: world.log.types("t") == ["cancelled"])
        world.script.let_go("first")
        await until(lambda: world.lag == 0)
    assert world.script.started == ["first"]


async def test_a_task_is_cancelled_while_its_start_is_on_its_way() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        submission = await world.log.submit(submission_of("t"))
        world.log.withhold()
        world.group.deliver()
        await until(lambda: len(w.outbox) == 1)
        w.owner.wishes.cancel("t", 1, "requested")
        world.log.release()
        await until(lambda: world.lag == 0)
    assert submission.topic == "tasks-cpu-normal"
    assert world.log.types("t") == ["started", "cancel_requested", "cancelled"]
    assert not world.script.started


async def test_a_cancel_that_comes_before_its_task_counts() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        w.owner.wishes.cancel("t", 1, "requested")
        await world.submit("t")
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["cancelled"]


async def test_a_cancel_of_one_run_does_not_hit_the_next() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        w.owner.wishes.cancel("t", 1, "requested")
        await world.submit("t")
        await until(lambda: world.lag == 0)
        await world.submit("t", run=2)
        await until(lambda: world.lag == 0)
        w.owner.wishes.cancel("t", 1, "requested")
    assert world.log.types("t") == ["cancelled", "started", "completed"]
