"""Stragglers whose records are appended again, so that committed offsets keep up."""

import time

from agents.relocation import LagBound
from domain.retry import RetryPolicy
from domain.task import fold
from schemas.codec import encode
from streams import topics
from streams.state_header import STATE_HEADER, state_header
from tests.support.memory_worker import World, neighbour, submission_of, until, worker

ALL = {0, 1, 2, 3}


async def test_a_relocated_copy_of_the_first_run_is_not_taken_for_the_second() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        second = await world.submit("t", "wait", run=2, attempts_before=1)
        await until(lambda: world.script.running)
        copy = encode(submission_of("t"))
        header = (STATE_HEADER, state_header(fold("t", [submission_of("t")])))
        await world.log.append(second.topic, copy, b"t", [header], partition=second.partition)
        world.group.deliver()
        assert w.owner.entries["t"].record.offset == second.offset
        world.script.let_go("t")
        await until(lambda: world.lag == 0)


async def test_a_straggler_is_relocated_and_its_copy_adopted() -> None:
    world = World()
    async with worker(world, slots=2, lag=LagBound(trailing_seconds_max=0.0)) as w:
        await world.group.rebalance({w.stream: ALL})
        old = await world.submit("slow", "wait")
        await until(lambda: world.script.running)
        name = neighbour(old)
        await world.submit(name)
        await until(lambda: world.log.types(name) == ["started", "completed"])
        await until(lambda: name not in w.owner.entries)
        assert await w.relocation.check() == 1
        assert world.group.committed[(old.topic, old.partition)] == old.offset + 2
        world.group.deliver()
        assert w.owner.entries["slow"].record.offset == old.offset + 2
        assert await w.relocation.check() == 0
        world.script.let_go("slow")
        await until(lambda: world.lag == 0)
    assert world.log.types("slow") == ["started", "completed"]


async def test_a_task_that_runs_for_long_does_not_make_recoveries_longer_and_longer() -> None:
    """Also where nothing came after it on its own band: a recovery reads the facts of all tasks since its record."""
    world = World()
    async with worker(world, slots=1, lag=LagBound(age_seconds_max=0.0)) as w:
        await world.group.rebalance({w.stream: ALL})
        old = await world.submit("slow", "wait")
        await until(lambda: world.script.running)
        other = await world.log.submit(submission_of("waits", priority=3))
        world.group.deliver()
        await until(lambda: time.time() * 1000 > world.log.partitions[other.topic, other.partition][-1].timestamp)
        assert await w.relocation.check() == 1
        world.group.deliver()
        assert world.group.committed[(old.topic, old.partition)] == old.offset + 1
        assert w.owner.entries["slow"].record.offset == old.offset + 1
        assert w.owner.entries["waits"].record.offset == other.offset, "it waits for its turn, as long as it takes"
        world.script.let_go("slow")
        await until(lambda: world.lag == 0)
    assert world.log.types("slow") == ["started", "completed"]


async def test_a_relocated_retry_keeps_its_due_time_and_attempts_when_its_worker_dies() -> None:
    world = World()
    retry = RetryPolicy(delay_seconds=3600)
    async with worker(world, retry=retry, lag=LagBound(trailing_seconds_max=0.0)) as w:
        await world.group.rebalance({w.stream: ALL})
        old = await world.submit("slow", "fail", attempts_max=9)
        await until(lambda: w.window.next_at())
        state = w.owner.entries["slow"].state
        name = neighbour(old)
        await world.submit(name)
        await until(lambda: world.log.types(name) == ["started", "completed"])
        await until(lambda: name not in w.owner.entries)
        assert await w.relocation.check() == 1
    for band, part in world.log.partitions.items():
        if band[0] == topics.LIFECYCLE:
            part.clear()  # too old for the next recovery
    async with worker(world, retry=retry) as w:
        await world.group.rebalance({w.stream: ALL})
        recovered = w.owner.entries["slow"].state
        assert (recovered.status, recovered.due_at, recovered.attempt) == (state.status, state.due_at, 1)
        assert recovered.version == state.version
