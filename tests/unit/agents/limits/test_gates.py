"""The gates of one process, or of several that share a table in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from agents.limits.gates import Gates
from agents.limits.local import LocalTable
from agents.limits.ports import Exchanged, LeaseTable, TableUnavailable
from domain.errors import TaskError
from domain.limits.breaker import SILENCE, Circuit, Words
from domain.limits.exchange import Ask, Terms
from domain.limits.limit import Key, Limit
from domain.limits.provider_health import Patience
from domain.limits.tickets import Refusal, Ticket
from domain.provider_errors import RATE_LIMITED, UNAVAILABLE
from domain.strategies.strategy import Lane, Refuser
from tests.support.gates import LimitsOnly, eventually, lane

TERMS = Terms(lease_seconds=0.5, margin_seconds=0.2, renew_seconds=0.05, turn_seconds=0.05)
ACME = lane("acme", provider="kimi")
OTHER = lane("other", provider="kimi")
FULL = Refuser("concurrency", "provider", "kimi")


class AwayTable(LocalTable):
    """A table that can go away."""

    away = False

    async def exchange(
        self, holder: str, serial: int, asks: Sequence[Ask], blocked: Mapping[str, float], words: Words = SILENCE
    ) -> Exchanged:
        """As long as it is there."""
        if self.away:
            raise TableUnavailable("away")
        return await super().exchange(holder, serial, asks, blocked, words)


class SlowTable:
    """A way to a table on which it looks at its clock long after it was asked."""

    def __init__(self, table: LocalTable) -> None:
        self._table = table
        self.terms = table.terms
        self.listen, self.close = table.listen, table.close

    async def exchange(
        self, holder: str, serial: int, asks: Sequence[Ask], blocked: Mapping[str, float], words: Words = SILENCE
    ) -> Exchanged:
        """After a while, as where others have its lock."""
        await asyncio.sleep(0.3)
        return await self._table.exchange(holder, serial, asks, blocked, words)


class Watched:
    """Gates with a dispatcher that remembers what refuses no more."""

    def __init__(
        self,
        table: LeaseTable | None = None,
        *,
        slots: int = 8,
        node: str = "here",
        patience: Patience | None = None,
    ) -> None:
        self.gates = Gates("llm", slots=slots, table=table or LocalTable(TERMS), node=node, patience=patience)
        self.opened: list[Refuser] = []
        self.gates.on_open = self.opened.extend

    def configure(self, limits: Mapping[tuple[str, str], Limit]) -> None:
        """These limits and no others."""
        self.gates.configure(LimitsOnly(limits))

    def admit(self, task: Lane = ACME, cost: float = 1.0) -> Ticket | Refusal:
        """One attempt, now."""
        return self.gates.admit(task, cost, self.gates.clock())

    async def admitted(self, task: Lane = ACME, cost: float = 1.0) -> Ticket:
        """One attempt, as soon as the gates say that it is worth asking again."""
        found: list[Ticket] = []

        async def try_again() -> bool:
            if self.opened or not found:
                self.opened.clear()
                verdict = self.admit(task, cost)
                if isinstance(verdict, Ticket):
                    found.append(verdict)
            return bool(found)

        await eventually(try_again)
        return found[0]


@asynccontextmanager
async def running(*members: Watched) -> AsyncIterator[None]:
    """Their lease loops at work."""
    tasks = [asyncio.create_task(each.gates.run()) for each in members]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def slow_down(seconds: float) -> TaskError:
    return TaskError(RATE_LIMITED, "slow down", retryable=True, retry_after_seconds=seconds)


def test_without_limits_everything_starts_and_nobody_need_run() -> None:
    watched = Watched()
    tickets = [watched.admit() for _ in range(100)]
    for ticket in tickets:
        assert isinstance(ticket, Ticket)
        watched.gates.settle(ticket)


async def test_a_lane_that_is_refused_opens_within_a_round_trip_and_not_at_the_next_renewal() -> None:
    watched = Watched(LocalTable(Terms(lease_seconds=600.0, margin_seconds=2.0, renew_seconds=300.0)))
    watched.configure({("provider", "kimi"): Limit(concurrency=1)})
    async with running(watched):
        assert watched.admit() == Refusal("concurrency", "provider", "kimi")
        await eventually_true(lambda: watched.opened == [FULL])
        assert isinstance(watched.admit(), Ticket)
        assert isinstance(watched.admit(OTHER), Refusal)


async def eventually_true(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""

    async def holds() -> bool:
        return condition()

    await eventually(holds)


async def test_a_permit_that_is_given_back_opens_the_lanes_that_wait_for_it_at_once() -> None:
    watched = Watched()
    watched.configure({("provider", "kimi"): Limit(concurrency=1)})
    async with running(watched):
        ticket = await watched.admitted()
        assert isinstance(watched.admit(OTHER), Refusal)
        watched.opened.clear()
        watched.gates.settle(ticket)
        assert watched.opened == [FULL]


async def test_an_attempt_takes_a_permit_of_each_limit_or_none() -> None:
    watched = Watched()
    watched.configure({("tenant", "*"): Limit(concurrency=2), ("provider", "kimi"): Limit(concurrency=3)})
    async with running(watched):
        first = [await watched.admitted() for _ in range(2)]
        assert watched.admit() == Refusal("concurrency", "tenant", "acme")
        await watched.admitted(OTHER)
        assert isinstance(watched.admit(OTHER), Refusal)
        watched.gates.settle(first[0])
        await watched.admitted(ACME)


async def test_limits_of_every_scope_apply_and_a_name_wins_over_each() -> None:
    watched = Watched()
    task = Lane("k2", "kimi", "chat", "acme")
    for key in (("class", "llm"), ("model", "k2"), ("type", "chat"), ("node", "here"), ("tenant", "acme")):
        watched.configure({key: Limit(concurrency=0), (key[0], "*"): Limit(concurrency=9)})
        assert watched.admit(task) == Refusal("concurrency", key[0], key[1])
    watched.configure({("node", "elsewhere"): Limit(concurrency=0), ("model", "other"): Limit(concurrency=0)})
    assert isinstance(watched.admit(task), Ticket)


async def test_a_limit_that_is_lowered_lets_run_what_runs_and_holds_for_the_next() -> None:
    watched = Watched()
    watched.configure({("provider", "kimi"): Limit(concurrency=3)})
    async with running(watched):
        tickets = [await watched.admitted() for _ in range(3)]
        watched.configure({("provider", "kimi"): Limit(concurrency=1)})
        for ticket in tickets[:2]:
            watched.gates.settle(ticket)
            assert isinstance(watched.admit(), Refusal)
        watched.gates.settle(tickets[2])
        await watched.admitted()
        assert watched.gates.lapsed() == []


async def test_what_runs_counts_against_a_limit_that_is_new() -> None:
    watched = Watched()
    tickets = [watched.admit() for _ in range(3)]
    watched.configure({("provider", "kimi"): Limit(concurrency=2)})
    async with running(watched):
        assert isinstance(watched.admit(), Refusal)
        for ticket in tickets[:2]:
            assert isinstance(ticket, Ticket)
            watched.gates.settle(ticket)
        await watched.admitted()
        assert isinstance(watched.admit(), Refusal)
        assert watched.gates.lapsed() == [], "what began without a limit is not stopped by it"


async def test_a_limit_that_is_removed_lets_everything_start() -> None:
    watched = Watched()
    watched.configure({("provider", "kimi"): Limit(concurrency=1)})
    async with running(watched):
        ticket = await watched.admitted()
        assert isinstance(watched.admit(), Refusal)
        watched.opened.clear()
        watched.configure({})
        assert watched.opened == [FULL]
        assert isinstance(watched.admit(), Ticket)
        watched.gates.settle(ticket)


async def test_without_the_table_leases_end_before_others_may_have_them_and_come_back_with_it() -> None:
    table = AwayTable(TERMS)
    watched = Watched(table)
    watched.configure({("provider", "kimi"): Limit(concurrency=1)})
    async with running(watched):
        ticket = await watched.admitted()
        table.away = True
        await eventually_true(lambda: watched.gates.lapsed() == [ticket])
        assert table.granted(Key("provider", "kimi")) == 1, "for the table, the lease has not ended yet"
        assert isinstance(watched.admit(), Refusal)
        assert isinstance(watched.admit(lane("acme", provider="unlimited")), Ticket)
        watched.gates.settle(ticket, stopped=True)
        table.away = False
        await watched.admitted()


async def test_idle_permits_of_one_process_go_to_another_that_wants_them() -> None:
    table = LocalTable(TERMS)
    one, two = Watched(table), Watched(table)
    for each in (one, two):
        each.configure({("provider", "kimi"): Limit(concurrency=2)})
    async with running(one, two):
        held = [await one.admitted() for _ in range(2)]
        assert isinstance(two.admit(), Refusal)
        for ticket in held:
            one.gates.settle(ticket)
        await two.admitted()
        await two.admitted()


async def test_a_process_that_leaves_gives_everything_back_that_is_not_in_use() -> None:
    table = LocalTable(TERMS)
    watched = Watched(table)
    watched.configure({("provider", "kimi"): Limit(concurrency=4)})
    async with running(watched):
        tickets = [await watched.admitted() for _ in range(4)]
        for ticket in tickets[:3]:
            watched.gates.settle(ticket)
    assert table.granted(Key("provider", "kimi")) == 1


async def test_after_retry_after_the_lanes_of_the_provider_open_and_not_before() -> None:
    watched = Watched()
    async with running(watched):
        ticket = await watched.admitted()
        watched.gates.settle(ticket, error=slow_down(0.2))
        told_at = time.monotonic()
        refusal = watched.admit()
        assert isinstance(refusal, Refusal)
        assert (refusal.cause, refusal.scope, refusal.name) == ("rate_limit", "provider", "kimi")
        await eventually_true(lambda: Refuser("rate_limit", "provider", "kimi") in watched.opened)
        assert time.monotonic() - told_at >= 0.19
        assert isinstance(watched.admit(), Ticket)


async def test_what_one_process_is_told_by_a_provider_holds_for_all() -> None:
    table = LocalTable(TERMS)
    one, two = Watched(table), Watched(table)
    async with running(one, two):
        await two.admitted()
        one.gates.settle(await one.admitted(), error=slow_down(60.0))
        await eventually_true(lambda: isinstance(two.admit(), Refusal))


async def test_what_was_heard_late_is_no_reason_to_call_early() -> None:
    table = LocalTable(TERMS)
    one, two = Watched(table), Watched(SlowTable(table))
    async with running(one, two):
        await two.admitted()
        one.gates.settle(await one.admitted(), error=slow_down(60.0))
        told = one.admit()
        assert isinstance(told, Refusal)
        await eventually_true(lambda: isinstance(two.admit(), Refusal))
        heard = two.admit()
        assert isinstance(heard, Refusal)
        assert told.until is not None
        assert heard.until is not None
        assert heard.until >= told.until


async def test_a_provider_that_keeps_failing_is_left_alone() -> None:
    watched = Watched()
    for _ in range(5):
        ticket = watched.admit()
        assert isinstance(ticket, Ticket)
        watched.gates.settle(ticket, error=TaskError(UNAVAILABLE, "away", retryable=True))
    assert watched.gates.circuit("kimi") is Circuit.OPEN
    refusal = watched.admit()
    assert isinstance(refusal, Refusal)
    assert refusal.cause == "backoff"
    assert isinstance(watched.admit(lane("acme", provider="other")), Ticket)


async def test_tokens_that_were_not_used_are_there_again() -> None:
    watched = Watched()
    watched.configure({("provider", "kimi"): Limit(tokens_per_minute=100)})
    async with running(watched):
        ticket = await watched.admitted(cost=100.0)
        refusal = watched.admit(cost=90.0)
        assert isinstance(refusal, Refusal)
        assert refusal.cause == "rate_limit"
        watched.gates.settle(ticket, tokens=1.0)
        await watched.admitted(cost=90.0)


async def test_requests_of_a_minute_are_counted_whatever_becomes_of_them() -> None:
    watched = Watched()
    watched.configure({("provider", "kimi"): Limit(requests_per_minute=3)})
    async with running(watched):
        for _ in range(3):
            watched.gates.settle(await watched.admitted(), tokens=0.0)
        assert isinstance(watched.admit(), Refusal)

        def told_when() -> bool:
            refusal = watched.admit()
            return isinstance(refusal, Refusal) and refusal.until is not None

        await eventually_true(told_when)


def test_a_ticket_is_settled_once() -> None:
    watched = Watched()
    ticket = watched.admit()
    assert isinstance(ticket, Ticket)
    watched.gates.settle(ticket)
    with pytest.raises(KeyError):
        watched.gates.settle(ticket)


#: Opens at the first failure, and for a moment.
IMPATIENT = Patience(failures_max=1, cool_down_seconds=0.2)


def fail(watched: Watched) -> None:
    """A call that the provider does not serve."""
    ticket = watched.admit()
    assert isinstance(ticket, Ticket)
    watched.gates.settle(ticket, error=TaskError(UNAVAILABLE, "away", retryable=True))


async def test_a_circuit_that_one_process_opens_stops_the_others_and_one_of_them_probes() -> None:
    table = LocalTable(TERMS)
    members = [Watched(table, patience=IMPATIENT) for _ in range(3)]
    for each in members:
        ticket = each.admit()
        assert isinstance(ticket, Ticket)
        each.gates.settle(ticket)
    async with running(*members):
        fail(members[0])
        await eventually_true(lambda: all(isinstance(each.admit(), Refusal) for each in members))
        probes: list[tuple[Watched, Ticket]] = []

        async def somebody_probes() -> bool:
            verdicts = [(each, each.admit()) for each in members]
            probes.extend((each, verdict) for each, verdict in verdicts if isinstance(verdict, Ticket))
            return bool(probes)

        await eventually(somebody_probes)
        for _ in range(20):
            await asyncio.sleep(0.005)
            assert not any(isinstance(each.admit(), Ticket) for each in members), "one probe at a time"
        (prober, probe), *more = probes
        assert not more
        prober.gates.settle(probe)
        await eventually_true(lambda: {each.gates.circuit("kimi") for each in members} == {Circuit.CLOSED})
        assert all(isinstance(each.admit(), Ticket) for each in members)


async def test_without_the_table_each_process_probes_by_its_own_clock() -> None:
    table = AwayTable(TERMS)
    watched = Watched(table, patience=IMPATIENT)
    async with running(watched):
        fail(watched)
        await eventually_true(lambda: bool(table._circuits))
        table.away = True

        async def admitted() -> bool:
            return isinstance(watched.admit(), Ticket)

        await eventually(admitted)
