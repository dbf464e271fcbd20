"""Submissions that come again, and runs after the first."""

import asyncio

import pytest

from domain.states import TaskStatus
from domain.task import fold
from tests.support.memory_worker import World, neighbour, until, worker

ALL = {0, 1, 2, 3}


@pytest.mark.parametrize("then", ["wait", "return"])
async def test_a_repeated_submission_runs_once(then: str) -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", then)
        await until(lambda: world.script.started)
        await world.submit("t", then)
        world.script.let_go("t")
        await world.submit("t", then)
        await until(lambda: world.lag == 0)
        await world.submit("t", then)
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["started", "completed"]


async def test_a_repeated_submission_holds_back_its_first_record_no_less() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        first = await world.submit("t", "wait")
        await until(lambda: world.script.running)
        await world.submit("t", "wait")
        assert world.group.committed.get((first.topic, first.partition), 0) == first.offset


async def test_a_second_run_waits_for_the_end_of_the_first() -> None:
    """The log has the first run's end, and the API has already sent the second, before the owner hears of it."""
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "wait", attempts_max=1)
        await until(lambda: world.script.running)
        world.log.withhold()
        world.script.let_go("t")
        await until(lambda: len(w.outbox) == 1)
        sending = asyncio.create_task(world.submit("t", run=2, attempts_before=1))
        repeating = asyncio.create_task(world.submit("t", run=2, attempts_before=1))
        await asyncio.sleep(0)
        world.log.release()
        await asyncio.gather(sending, repeating)
        await until(lambda: world.lag == 0)
    assert [(fact.run, fact.attempt) for fact in world.log.facts("t")] == [(1, 1), (1, 1), (2, 2), (2, 2)]


async def test_a_second_run_is_found_behind_the_record_of_the_first() -> None:
    """An older unfinished record holds back the first run's record: a recovery sees both runs at once."""
    world = World()
    async with worker(world, slots=3) as dead:
        await world.group.rebalance({dead.stream: ALL})
        blocker = await world.submit("blocker", "wait")
        name = neighbour(blocker)
        await world.submit(name, "refuse")
        await until(lambda: world.log.types(name) == ["started", "failed"])
        await world.submit(name, "wait", run=2, attempts_before=1)
        await until(lambda: name in world.script.running)
    world.script.let_go("blocker")
    world.script.let_go(name)
    async with worker(world, slots=3) as w:
        await world.group.rebalance({w.stream: ALL})
        await until(lambda: world.lag == 0)
    state = fold(name, world.log.facts(name))
    assert (state.run, state.status) == (2, TaskStatus.COMPLETED)
    assert state.attempts_lost == 1


async def test_a_repeat_of_the_first_run_does_not_disturb_the_second() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "refuse")
        await until(lambda: world.lag == 0)
        second = await world.submit("t", "wait", run=2, attempts_before=1)
        await until(lambda: world.script.running)
        await world.submit("t", "refuse")
        assert world.group.committed[(second.topic, second.partition)] == second.offset
        world.script.let_go("t")
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["started", "failed", "started", "completed"]
