"""What the real dispatcher decided, asked of its strategy once more, with nothing but the log in hand."""

import asyncio
from random import Random

import pytest

from domain.simulation.recording import RecordedEvent, Recorder
from domain.simulation.replaying import replay
from domain.strategies.choice import NAMES, StrategyChoice
from domain.strategies.estimates import Estimates
from domain.strategies.make import make_strategy
from domain.strategies.strategy import Strategy
from schemas.codec import decode
from schemas.events import TaskEvent
from tests.support.memory_worker import World, submission_of, until, worker

TASKS = 60
OPTIONS = {"ageing_seconds": 0.02, "ageing_every": 3}


def recorder_of(world: World) -> Recorder:
    """Everything that the log of the world holds of its class."""
    recorder = Recorder(cost_of=lambda submission: 1.0, preemptible=lambda task_type: False)
    for (_, partition), records in world.log.partitions.items():
        for record in records:
            event = decode(record.value or b"")
            if isinstance(event, TaskEvent):
                recorder.add(RecordedEvent(event, record.timestamp, partition, record.offset))
    return recorder


def make(name: str) -> Strategy:
    return make_strategy(StrategyChoice(name, OPTIONS), Estimates(), lambda tenant: 1.0)


@pytest.mark.parametrize("name", sorted(NAMES))
async def test_the_recorded_strategy_explains_the_order_of_a_real_worker(name: str) -> None:
    random = Random(name)
    world = World()
    async with worker(world, slots=2, strategy=StrategyChoice(name, OPTIONS)) as one:
        await world.group.rebalance({one.stream: {0, 1, 2, 3}})
        for number in range(TASKS):
            submission = submission_of(
                f"t-{number}",
                random.choice(["return", "fail-once", "wait"]),
                priority=random.randint(1, 3),
                tenant=random.choice(["a", "b", "c"]),
                estimated_seconds=random.choice([None, 1.0, 5.0]),
            )
            await world.log.submit(submission)
            world.group.deliver()
            if random.random() < 0.3:
                await asyncio.sleep(0.002)
            for waiting in sorted(world.script.running):
                if random.random() < 0.5:
                    world.script.let_go(waiting)
        for number in range(TASKS):
            world.script.let_go(f"t-{number}")
        await until(lambda: not one.owner.entries)
    visits = recorder_of(world).visits()
    started = [visit for visit in visits if visit.started_us is not None]
    assert len(started) >= TASKS
    assert {visit.strategy for visit in started} == {name}
    replayed = replay(visits, make)
    assert replayed.starts == len(started)
    assert (replayed.behind_limits, replayed.different) == (0, [])
