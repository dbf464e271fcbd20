"""Tasks that go to another model, and so to another shard."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from domain.decide import Fail
from domain.routing import Route
from domain.states import TaskStatus
from domain.task import TaskState, fold
from schemas import events
from schemas.events import TaskSubmitted
from streams.state_header import STATE_HEADER
from tests.support.memory_log import SHARDS, partition_of
from tests.support.memory_worker import World, until, worker

ALL = {0, 1, 2, 3}


def key_of(shard: int) -> str:
    """A routing key whose work meets in the shard."""
    return next(f"key-{number}" for number in range(100) if partition_of(f"key-{number}".encode()) == shard)


@dataclass
class TestRouter:
    """Sends new tasks of the model `auto` to one place, and failed ones to another."""

    __test__ = False

    entering_to: str | None = None
    failed_to: str | None = None
    asked: list[str] = field(default_factory=list)

    def entering(self, submission: TaskSubmitted, state: TaskState) -> Route | None:
        self.asked.append(submission.task_id)
        if self.entering_to is None or state.model != "auto":
            return None
        return Route("chosen", self.entering_to, "cheapest")

    def failed(self, submission: TaskSubmitted, state: TaskState, failure: Fail) -> Route | None:
        if self.failed_to is None or "fallback" in state.routed_to:
            return None
        return Route("fallback", self.failed_to, f"{failure.code}; fallback")


def done(world: World) -> bool:
    """Whether everything was handed out and has ended."""
    world.group.deliver()
    return world.lag == 0


def shard_of(task_id: str) -> int:
    return partition_of(task_id.encode())


@pytest.mark.parametrize("away", [0, 1])
async def test_a_task_goes_where_the_router_says_and_runs_there_once(away: int) -> None:
    """To the same shard, or to another one of the same worker."""
    world = World()
    router = TestRouter(entering_to=key_of((shard_of("t") + away) % SHARDS))
    async with worker(world, router=router) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", model="auto")
        await until(lambda: world.log.types("t") == ["routed"])
        await until(lambda: done(world))
    assert world.log.types("t") == ["routed", "started", "completed"]
    _, started, _ = world.log.facts("t")
    assert isinstance(started, events.TaskStarted)
    assert started.model == "chosen"


async def test_a_task_goes_on_with_another_worker_whose_epoch_is_lower() -> None:
    world = World()
    here = shard_of("t")
    there = (here + 1) % SHARDS
    router = TestRouter(entering_to=key_of(there))
    async with worker(world, router=router) as one, worker(world, router=router) as other:
        await world.group.rebalance({one.stream: {here}, other.stream: {there}})
        one.owner.epoch += 1000
        await world.submit("t", model="auto")
        await until(lambda: done(world))
        assert not one.owner.entries
    facts = world.log.facts("t")
    assert world.log.types("t") == ["routed", "started", "completed"]
    assert fold("t", facts).status is TaskStatus.COMPLETED
    assert {fact.epoch for fact in facts} == {one.owner.epoch}


async def test_a_failed_attempt_goes_to_the_fallback_whatever_the_failure() -> None:
    world = World()
    router = TestRouter(failed_to=key_of((shard_of("t") + 1) % SHARDS))
    async with worker(world, router=router) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "refuse", attempts_max=1)
        await until(lambda: done(world))
    assert world.log.types("t") == ["started", "released", "routed", "started", "failed"]
    state = fold("t", world.log.facts("t"))
    assert (state.model, state.attempt, state.attempts_used, state.error_code) == ("fallback", 2, 1, "refused")


async def crashed_before(world: World, step: Callable[[], bool]) -> None:
    """A worker that routes the task, and dies when so much is in the log."""
    router = TestRouter(entering_to=key_of((shard_of("t") + 1) % SHARDS))
    async with worker(world, router=router) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", model="auto")
        await until(step)
    world.group.committed.clear()


def copies(world: World) -> int:
    records = (each for (topic, _), part in world.log.partitions.items() if topic != "task-lifecycle" for each in part)
    return sum(STATE_HEADER in dict(record.headers) for record in records)


async def test_a_route_whose_copy_was_not_made_is_made_good_by_the_next_owner() -> None:
    world = World()
    await crashed_before(world, lambda: copies(world) > 0)
    # As if the crash had come between the fact and the copy.
    for part in world.log.partitions.values():
        part[:] = [record for record in part if STATE_HEADER not in dict(record.headers)]
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await until(lambda: done(world))
    assert world.log.types("t") == ["routed", "started", "completed"]


async def test_a_copy_that_was_made_twice_runs_once() -> None:
    world = World()
    await crashed_before(world, lambda: copies(world) > 0)
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await until(lambda: done(world))
    assert copies(world) >= 1
    assert world.log.types("t") == ["routed", "started", "completed"]


async def test_a_repeat_of_a_task_that_went_elsewhere_is_let_go() -> None:
    world = World()
    here = shard_of("t")
    there = (here + 1) % SHARDS
    async with worker(world, router=TestRouter(entering_to=key_of(there))) as one, worker(world) as other:
        await world.group.rebalance({one.stream: {here}, other.stream: {there}})
        await world.submit("t", "wait", model="auto")
        await until(lambda: done(world) or world.script.running)
        await world.submit("t", "wait", model="auto")
        assert not one.owner.entries
        world.script.let_go("t")
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["routed", "started", "completed"]
