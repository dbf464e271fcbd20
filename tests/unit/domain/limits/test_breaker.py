"""Breakers of several processes that share a table, told and heard by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from domain.limits.breaker import PROBE_SECONDS, Breaker, Circuit, CoolDown, Opened, Row, Words, said_by, told_to
from domain.limits.tickets import Ticket
from tests.support.gates import lane

COOL_DOWN = CoolDown(failures_max=2, seconds=10.0, seconds_max=30.0)
LANE = lane("acme", provider="kimi")


@dataclass
class World:
    """Processes with clocks of their own, and the table's rows."""

    count: int
    now: float = 1000.0
    rows: dict[str, Row] = field(default_factory=dict)
    breakers: list[Breaker] = field(init=False)

    def __post_init__(self) -> None:
        self.breakers = [Breaker(COOL_DOWN) for _ in range(self.count)]

    def clock(self, index: int) -> float:
        return self.now - 100.0 * index

    def exchange(self, index: int, *, heard: bool = True) -> None:
        """A process says what it has to say, to a table that does not always answer."""
        breaker, now = self.breakers[index], self.clock(index)
        word = breaker.word(now, waits=True)
        words = Words(
            opened={"kimi": word} if isinstance(word, Opened) else {},
            closed=frozenset({"kimi"} if word is False else ()),
            probes=frozenset({"kimi"} if word is True else ()),
        )
        self.rows = said_by(str(index), words, self.rows, self.now)
        if not heard:
            breaker.alone()
            return
        if isinstance(word, Opened):
            breaker.said(word)
        elif word is False:
            breaker.said(None)
        breaker.hear(told_to(str(index), self.rows, self.now).get("kimi"), now)

    def begin(self, index: int) -> Ticket | None:
        breaker, now = self.breakers[index], self.clock(index)
        if breaker.refuses(now):
            return None
        ticket = Ticket(LANE, 1.0, now)
        breaker.begun(ticket)
        return ticket

    def fail(self, index: int) -> None:
        ticket = self.begin(index)
        assert ticket is not None
        self.breakers[index].failed(ticket, self.clock(index))

    def opened(self) -> World:
        """One process has opened it, and all have heard."""
        for _ in range(COOL_DOWN.failures_max):
            self.fail(0)
        for index in range(self.count):
            self.exchange(index)
        return self

    def circuits(self) -> list[Circuit]:
        return [breaker.circuit(self.clock(index)) for index, breaker in enumerate(self.breakers)]


def test_what_one_has_opened_is_open_for_all() -> None:
    world = World(3).opened()
    assert world.circuits() == [Circuit.OPEN] * 3
    assert [world.begin(index) for index in range(3)] == [None] * 3


def test_one_of_them_probes_and_a_success_closes_it_for_all() -> None:
    world = World(3).opened()
    world.now += 10.0
    assert [world.begin(index) for index in range(3)] == [None] * 3, "the table has not been asked"
    for index in (1, 0, 2):
        world.exchange(index)
    tickets = [world.begin(index) for index in range(3)]
    assert [ticket is not None for ticket in tickets] == [False, True, False]
    assert tickets[1] is not None
    world.breakers[1].succeeded(tickets[1])
    for index in (1, 0, 2):
        world.exchange(index)
    assert world.circuits() == [Circuit.CLOSED] * 3
    assert not world.rows


def test_a_probe_that_fails_leaves_it_alone_for_twice_as_long() -> None:
    world = World(2).opened()
    world.now += 10.0
    world.exchange(1)
    world.fail(1)
    world.exchange(1)
    world.exchange(0)
    world.now += 19.9
    assert world.circuits() == [Circuit.OPEN] * 2
    world.now += 0.2
    assert world.circuits() == [Circuit.HALF_OPEN] * 2


def test_the_right_to_probe_of_a_process_that_died_goes_to_another_one() -> None:
    world = World(2).opened()
    world.now += 10.0
    world.exchange(1)
    assert world.begin(1) is not None
    world.exchange(0)
    assert world.begin(0) is None
    world.now += PROBE_SECONDS
    world.exchange(0)
    assert world.begin(0) is not None


def test_a_long_probe_keeps_its_right_by_saying_so() -> None:
    world = World(2).opened()
    world.now += 10.0
    world.exchange(1)
    assert world.begin(1) is not None
    for _ in range(10):
        renews_at = world.breakers[1].renews_at()
        assert renews_at is not None
        world.now += renews_at - world.clock(1)
        world.exchange(1)
        world.exchange(0)
        assert world.begin(0) is None


def test_who_cannot_reach_the_table_goes_by_its_own_clock() -> None:
    world = World(2).opened()
    world.now += 10.0
    world.exchange(0, heard=False)
    ticket = world.begin(0)
    assert ticket is not None
    world.breakers[0].succeeded(ticket)
    assert world.circuits()[0] is Circuit.CLOSED


STEP = st.tuples(st.integers(0, 2), st.sampled_from(["call", "end", "fail", "exchange", "wait"]))


@given(st.lists(STEP, max_size=80))
def test_no_two_probe_at_a_time_and_it_can_always_be_closed(steps: Sequence[tuple[int, str]]) -> None:
    world, running = World(3).opened(), dict[int, Ticket]()
    for index, step in steps:
        match step:
            case "call" if index not in running and (ticket := world.begin(index)) is not None:
                running[index] = ticket
            case "end" if index in running:
                world.breakers[index].succeeded(running.pop(index))
            case "fail" if index in running:
                world.breakers[index].failed(running.pop(index), world.clock(index))
            case "exchange":
                world.exchange(index)
            case "wait":
                world.now += 3.0
                for each in running:
                    # A process at work says so in time.
                    world.exchange(each)
        assert sum(breaker.renews_at() is not None for breaker in world.breakers) <= 1
    for index, ticket in running.items():
        world.breakers[index].stopped(ticket)
    world.now += 2 * (COOL_DOWN.seconds_max + PROBE_SECONDS)
    for _ in range(3):
        for index in range(3):
            world.exchange(index)
            if (found := world.begin(index)) is not None:
                world.breakers[index].succeeded(found)
                world.exchange(index)
    assert world.circuits() == [Circuit.CLOSED] * 3
