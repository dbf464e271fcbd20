"""Every start says what its task has waited for, and the parts sum to the whole."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agents.limits.gates import Gates
from domain import decide, holds, waits
from domain.limits.limit import Limit
from domain.retry import RetryPolicy
from domain.strategies.choice import StrategyChoice
from domain.task import fold
from schemas import events
from schemas.codec import encode
from schemas.events import TaskStarted
from tests.support.memory_worker import CLASS, World, submission_of, until, worker
from tests.unit.agents.test_holds import pause, release

ALL = {0, 1, 2, 3}
ENDS = (events.TaskYielded, events.TaskReleased, events.TaskAttemptLost, events.TaskRetryScheduled)


def now() -> datetime:
    return datetime.now(UTC)


def starts(world: World, task_id: str) -> list[TaskStarted]:
    return [fact for fact in world.log.facts(task_id) if isinstance(fact, TaskStarted)]


def check_sums(world: World, task_id: str, submitted_at: datetime) -> None:
    """Each start's causes sum to the time since the submission, or since the attempt before ended."""
    since = submitted_at
    for fact in world.log.facts(task_id):
        if isinstance(fact, ENDS):
            since = fact.occurred_at
        if isinstance(fact, TaskStarted):
            total = (fact.occurred_at - since) / timedelta(milliseconds=1)
            assert sum(fact.waited_ms.values()) == pytest.approx(total, abs=10)
            assert set(fact.waited_ms) <= set(waits.CAUSES)


async def passed(seconds: float) -> None:
    """Let the clock move: what is waited for must last a while to be told."""
    await asyncio.sleep(seconds)


async def test_a_task_behind_more_urgent_work_waited_for_priority() -> None:
    world = World()
    async with worker(world, slots=1) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("high", "wait", priority=3)
        await until(lambda: world.script.running)
        at = now()
        await world.submit("low", priority=1, occurred_at=at)
        await passed(0.05)
        world.script.let_go("high")
        await until(lambda: world.lag == 0)
    (start,) = starts(world, "low")
    assert start.waited_ms[waits.PRIORITY] >= 40
    assert start.waited_ms.get(waits.CONCURRENCY, 0) <= 10
    check_sums(world, "low", at)
    assert start.entered_at is not None
    assert start.entered_at <= start.occurred_at


async def test_a_task_behind_its_equals_waited_for_a_slot() -> None:
    world = World()
    async with worker(world, slots=1) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("first", "wait")
        await until(lambda: world.script.running)
        at = now()
        await world.submit("second", occurred_at=at)
        await passed(0.05)
        world.script.let_go("first")
        await until(lambda: world.lag == 0)
    (start,) = starts(world, "second")
    assert start.waited_ms[waits.CONCURRENCY] >= 40
    assert waits.PRIORITY not in start.waited_ms
    check_sums(world, "second", at)


async def test_under_a_fair_strategy_others_turns_are_fairness() -> None:
    world = World()
    async with worker(world, slots=1, strategy="fair") as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("theirs", "wait", tenant="they", priority=3)
        await until(lambda: world.script.running)
        at = now()
        await world.submit("ours", tenant="we", occurred_at=at)
        await passed(0.05)
        world.script.let_go("theirs")
        await until(lambda: world.lag == 0)
    (start,) = starts(world, "ours")
    assert start.waited_ms[waits.FAIRNESS] >= 40
    check_sums(world, "ours", at)


async def test_a_retry_waited_for_its_due_time_and_for_no_more() -> None:
    world = World()
    at = now()
    async with worker(world, retry=RetryPolicy(delay_seconds=0.05)) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "fail-once", occurred_at=at)
        await until(lambda: world.lag == 0)
    _, again = starts(world, "t")
    (scheduled,) = [fact for fact in world.log.facts("t") if isinstance(fact, events.TaskRetryScheduled)]
    backoff = (scheduled.due_at - scheduled.occurred_at) / timedelta(milliseconds=1)
    assert again.waited_ms.get(waits.BACKOFF, 0) >= backoff - 10
    check_sums(world, "t", at)


async def test_a_refusal_is_waited_out_for_its_rate_limit_and_costs_nothing() -> None:
    world = World()
    at = now()
    async with worker(world, retry=RetryPolicy(refusal_seconds=0.05)) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "slow-down", occurred_at=at, attempts_max=1)
        await until(lambda: len(starts(world, "t")) == 3)
        world.script.let_go("t")
        await until(lambda: world.lag == 0)
    *refusals, completed = world.log.types("t")[1::2]
    assert (set(refusals), completed) == ({"released"}, "completed")
    assert [start.attempt for start in starts(world, "t")] == list(range(1, len(starts(world, "t")) + 1))
    releases = [fact for fact in world.log.facts("t") if isinstance(fact, events.TaskReleased)]
    for released, start in zip(releases, starts(world, "t")[1:], strict=True):
        assert released.due_at is not None
        put_off = (released.due_at - released.occurred_at) / timedelta(milliseconds=1)
        assert start.occurred_at >= released.due_at
        assert start.waited_ms.get(waits.RATE_LIMIT, 0) >= put_off - 10
    check_sums(world, "t", at)


async def test_what_waits_for_a_limit_says_so() -> None:
    world = World()
    gates = Gates(CLASS, slots=4)
    leases = asyncio.create_task(gates.run())
    async with worker(world, slots=4, gates=gates) as w:
        w.configure(set_limits={("tenant", "acme"): Limit(concurrency=1)})
        await world.group.rebalance({w.stream: ALL})
        await world.submit("first", "wait", tenant="acme")
        await until(lambda: world.script.running)
        at = now()
        await world.submit("second", tenant="acme", occurred_at=at)
        await world.submit("other", tenant="other")
        await until(lambda: world.log.types("other") == ["started", "completed"])
        await passed(0.05)
        (refusal,) = w.core.gatekeeper.closed.values()
        assert (refusal.cause, refusal.scope, refusal.name) == (waits.CONCURRENCY, "tenant", "acme")
        world.script.let_go("first")
        await until(lambda: world.lag == 0)
    leases.cancel()
    (start,) = starts(world, "second")
    assert start.waited_ms[waits.CONCURRENCY] >= 40
    check_sums(world, "second", at)


async def test_what_was_in_the_log_before_its_owner_waited_for_recovery() -> None:
    world = World()
    at = now()
    await world.submit("t", occurred_at=at)
    await passed(0.05)
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await until(lambda: world.lag == 0)
    (start,) = starts(world, "t")
    assert start.waited_ms[waits.RECOVERY] >= 40
    check_sums(world, "t", at)


async def test_what_came_late_was_held() -> None:
    world = World()
    at = now() - timedelta(minutes=5)
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", occurred_at=at)
        await until(lambda: world.lag == 0)
    (start,) = starts(world, "t")
    assert start.waited_ms[waits.HELD] == pytest.approx(300_000, abs=1000)
    check_sums(world, "t", at)


async def test_a_wait_after_a_hold_counts_from_the_attempt_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempt took its time, and the retry was not due when its class was paused; then all slots were taken."""
    # A retry that is due at once would be run before the pause.
    monkeypatch.setattr("agents.attempts.random.random", lambda: 1.0)
    world = World()
    submitted_at = now() - timedelta(hours=1)
    async with worker(world, slots=1, retry=RetryPolicy(delay_seconds=1.0)) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "fail-once", occurred_at=submitted_at, attempts_max=2)
        await until(lambda: w.window.next_at())
        w.configure(**pause("class", CLASS))
        await until(lambda: "t" not in w.owner.entries)
        await passed(0.05)
        w.configure()
        await world.submit("first", "wait")
        await until(lambda: world.script.running)
        await release(world, "t")
        await passed(1.25)
        world.script.let_go("first")
        await until(lambda: world.lag == 0)
    first, again = starts(world, "t")
    assert first.waited_ms[waits.HELD] == pytest.approx(3_600_000, abs=1000)
    assert again.waited_ms[waits.PAUSED] >= 45
    assert again.waited_ms[waits.CONCURRENCY] >= 40
    assert waits.HELD not in again.waited_ms
    check_sums(world, "t", submitted_at)


@pytest.mark.parametrize("reason", [holds.RUN_AT, holds.QUEUE_FULL, holds.DEPENDENCIES, holds.PAUSED])
async def test_the_parts_sum_to_the_whole_of_a_task_that_was_held_and_then_waited_for_a_slot(reason: str) -> None:
    """Held for a minute, by the door or, after ten seconds in its line, by an owner; then behind another task."""
    world = World()
    at = now()
    submission = submission_of("t", occurred_at=at - timedelta(seconds=70))
    owner_held = reason == holds.PAUSED
    hold = decide.Hold(
        at=at - timedelta(seconds=60 if owner_held else 70),
        epoch=1 if owner_held else 0,
        reason=reason,
        until=None,
        submission=encode(submission),
    )
    (held,) = decide.decide(hold, fold("t", [submission]))
    await world.log.fact(held)
    async with worker(world, slots=1) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("first", "wait")
        await until(lambda: world.script.running)
        if owner_held:
            await release(world, "t")
        else:
            await world.log.submit(submission)
            world.group.deliver()
        await passed(0.05)
        world.script.let_go("first")
        await until(lambda: world.lag == 0)
    (start,) = starts(world, "t")
    if owner_held:
        assert start.waited_ms[waits.PAUSED] == pytest.approx(60_000, abs=1000)
        assert start.waited_ms[waits.CONCURRENCY] == pytest.approx(10_000, abs=1000)
    else:
        assert start.waited_ms[waits.HELD] == pytest.approx(70_000, abs=1000)
        assert start.waited_ms[waits.CONCURRENCY] >= 40
    check_sums(world, "t", submission.occurred_at)


async def test_the_parts_sum_to_the_whole_through_yields_switches_and_rebalances() -> None:
    world = World()
    at = now()
    names = [f"t-{number}" for number in range(12)]
    async with worker(world, slots=2, strategy="preemptive") as w:
        await world.group.rebalance({w.stream: ALL})
        for number, name in enumerate(names):
            changes: dict[str, Any] = {"type": "count"} if number % 3 == 0 else {}
            await world.submit(name, priority=number % 3 + 1, occurred_at=at, tenant=f"n-{number % 2}", **changes)
            world.script.let_go(name) if number % 2 else None
        await passed(0.02)
        w.configure(strategies={CLASS: StrategyChoice("fair")})
        await world.group.rebalance({w.stream: ALL})
        await passed(0.02)
        w.configure(strategies={CLASS: StrategyChoice("round_robin", {"time_slice_seconds": 0.005})})
        await passed(0.05)
        for name in names:
            world.script.let_go(name)
        await until(lambda: world.lag == 0)
    for name in names:
        check_sums(world, name, at)
