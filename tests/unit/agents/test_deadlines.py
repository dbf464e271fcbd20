"""What must start by a moment, and what must give signs of life."""

from datetime import UTC, datetime, timedelta

from domain.retry import RetryPolicy
from domain.states import TaskStatus
from domain.task import fold
from schemas import events
from tests.support.memory_worker import World, until, worker

ALL = {0, 1, 2, 3}


def soon(seconds: float = 0.05) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def test_a_task_that_cannot_start_in_time_expires_while_the_slot_is_taken() -> None:
    world = World()
    async with worker(world, slots=1) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("long", "wait")
        await until(lambda: world.script.running)
        deadline_at = soon()
        await world.submit("t", deadline_at=deadline_at)
        await until(lambda: world.log.types("t") == ["expired"])
        assert world.script.running == {"long"}
        world.script.let_go("long")
        await until(lambda: world.lag == 0)
    (expired,) = [fact for fact in world.log.facts("t") if isinstance(fact, events.TaskExpired)]
    assert expired.occurred_at >= deadline_at
    assert world.script.started == ["long"]


async def test_a_task_whose_deadline_passed_before_it_came_never_runs() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", deadline_at=soon(-1))
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["expired"]
    assert not world.script.started


async def test_what_began_in_time_may_be_tried_again_later() -> None:
    world = World()
    async with worker(world, retry=RetryPolicy(delay_seconds=0.1)) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "fail-once", deadline_at=soon(0.03))
        await until(lambda: world.lag == 0)
    assert fold("t", world.log.facts("t")).status in (TaskStatus.COMPLETED, TaskStatus.EXPIRED)
    if world.script.started:
        assert world.log.types("t") == ["started", "retry_scheduled", "started", "completed"]


async def test_what_was_only_refused_has_not_begun_in_time() -> None:
    world = World()
    async with worker(world, retry=RetryPolicy(refusal_seconds=0.02)) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "slow-down", deadline_at=soon(0.1))
        await until(lambda: world.lag == 0)
    assert fold("t", world.log.facts("t")).status is TaskStatus.EXPIRED
    assert set(world.log.types("t")[:-1]) <= {"started", "released"}


async def test_a_task_that_was_interrupted_goes_on_after_its_deadline() -> None:
    world = World()
    async with worker(world, slots=1, strategy="preemptive") as w:
        await world.group.rebalance({w.stream: ALL})
        deadline_at = soon(0.2)
        await world.submit("t", type="count", priority=1, deadline_at=deadline_at)
        await until(lambda: world.script.counts.get("t", 0) > 3)
        await world.submit("urgent", "wait", priority=3)
        await until(lambda: "urgent" in world.script.running)
        await until(lambda: datetime.now(UTC) > deadline_at)
        world.script.let_go("urgent")
        world.script.let_go("t")
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["started", "yielded", "started", "completed"]


async def test_a_silent_handler_is_stopped_and_has_failed() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", type="alive", attempts_max=1)
        await until(lambda: world.lag == 0)
    state = fold("t", world.log.facts("t"))
    assert (state.status, state.error_code) == (TaskStatus.FAILED, "heartbeat_timeout")


async def test_a_handler_that_gives_signs_of_life_goes_on() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        began = datetime.now(UTC)
        await world.submit("t", "beat", type="alive", attempts_max=1)
        await until(lambda: datetime.now(UTC) - began > timedelta(seconds=0.5))
        world.script.let_go("t")
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["started", "completed"]
