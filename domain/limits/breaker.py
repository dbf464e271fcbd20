"""A circuit breaker: closed while calls pass, open while none does, half-open while one probe decides. Pure.

Each process counts failures by itself; what one has found goes for all that share a table. An opened circuit is told
there, and so are its end and who may make the one probe: whoever asks first, for `PROBE_SECONDS`, which are renewed
while the probe runs. Who cannot reach the table goes by what it knows, and probes when its own clock says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from domain.limits.tickets import Ticket

#: For so long nobody else probes. A process that died with the right to do so keeps the others away no longer.
PROBE_SECONDS: Final = 10.0
_LONG_AGO: Final = float("-inf")


class Circuit(StrEnum):
    """State of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoolDown:
    """How many failures in a row open a circuit, and for how long."""

    failures_max: int
    #: The first time; doubles with each probe that fails, up to the longest.
    seconds: float
    seconds_max: float


class Opened(NamedTuple):
    """A process has found a circuit to be open."""

    seconds: float
    #: How often it was opened since it was closed.
    times: int
    #: When, by the process's own clock: tells one opening from the next.
    at: float = 0.0


class Told(NamedTuple):
    """What the table knows of an open circuit."""

    #: Until it may be probed; negative where that has been.
    seconds: float
    times: int
    #: Whether whoever is told so may make the probe, and nobody else until then.
    mine: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a process has to say to the table about circuits, by provider."""

    opened: Mapping[str, Opened] = field(default_factory=dict)
    #: A probe of this process got through.
    closed: frozenset[str] = frozenset()
    #: This process would make the probe, or makes it.
    probes: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.opened or self.closed or self.probes)


SILENCE: Final = Words()


class Breaker:
    """Of one provider, in one process. `now` is its monotonic clock, in seconds."""

    def __init__(self, cool_down: CoolDown) -> None:
        #: Until then no call passes; None while the circuit is closed.
        self.until: float | None = None
        self._cool_down = cool_down
        self._failures = self._times = 0
        self._opened_at = _LONG_AGO
        self._probe: Ticket | None = None
        #: Until then this process may probe, and no other.
        self._probe_until = _LONG_AGO
        #: The table knows that it is open; or not yet that it is closed again.
        self._shared = self._recovered = False

    def circuit(self, now: float) -> Circuit:
        """Its state."""
        if self.until is None:
            return Circuit.CLOSED
        return Circuit.OPEN if now < self.until else Circuit.HALF_OPEN

    def refuses(self, now: float) -> bool:
        """Whether no call may begin."""
        if self.until is None:
            return False
        return now < self.until or self._probe is not None or (self._shared and now >= self._probe_until)

    def opens_at(self, now: float) -> float | None:
        """When a call may begin again, where that is known: a probe decides, or the table."""
        return self.until if self.until is not None and now < self.until and self._probe is None else None

    def begun(self, ticket: Ticket) -> None:
        """A call begins; it was not refused."""
        if self.until is not None:
            self._probe = ticket

    def stopped(self, ticket: Ticket) -> bool:
        """The call is over, and says nothing; whether it was the probe."""
        probed = self._probe is ticket
        if probed:
            self._probe = None
        return probed

    def succeeded(self, ticket: Ticket) -> None:
        """The provider has answered."""
        self._failures = 0
        if self.stopped(ticket):
            self.until, self._times = None, 0
            self._recovered, self._shared = self._shared, False

    def failed(self, ticket: Ticket, now: float) -> None:
        """It has not."""
        probed = self.stopped(ticket)
        if ticket.admitted_at < self._opened_at:
            return
        self._failures += 1
        if probed or (self.until is None and self._failures >= self._cool_down.failures_max):
            wait = min(self._cool_down.seconds * 2.0**self._times, self._cool_down.seconds_max)
            self._times += 1
            self._opened_at, self.until = now, now + wait
            self._shared = self._recovered = False

    def renews_at(self) -> float | None:
        """When to say again that it probes."""
        return None if self._probe is None or not self._shared else self._probe_until - PROBE_SECONDS / 2

    def word(self, now: float, *, waits: bool) -> Opened | bool | None:
        """What the others must hear: that it is open, or is not (False), or that it would probe (True); None: nothing.

        `waits`: there is something to probe with.
        """
        if self.until is None:
            return False if self._recovered else None
        if not self._shared:
            return Opened(max(0.0, self.until - now), self._times, self._opened_at)
        wants = now >= self.until and (waits or self._probe is not None)
        return True if wants and now >= self._probe_until - PROBE_SECONDS / 2 else None

    def said(self, word: Opened | None) -> None:
        """The table has heard that it is open, or (None) closed, unless that has changed since."""
        if word is None:
            self._recovered = False
        elif word.at == self._opened_at:
            self._shared = self.until is not None

    def alone(self) -> None:
        """The table cannot be reached."""
        self._shared = False

    def hear(self, told: Told | None, now: float) -> None:
        """What the table says; None: it knows of no open circuit. What it has not heard of yet stands."""
        if self._recovered or (self.until is not None and not self._shared):
            return
        if told is None:
            if self._shared:
                self.until, self._times, self._failures = None, 0, 0
                self._shared = False
        elif told.mine:
            self._probe_until, self._shared = now + told.seconds, True
            self._times = told.times
        else:
            if self.until is None:
                # Calls that are under way say nothing new.
                self._opened_at = now
            self.until, self._times, self._shared = now + told.seconds, told.times, True
            self._probe_until = _LONG_AGO


@dataclass(frozen=True, slots=True)
class Row:
    """What the table keeps of an open circuit."""

    until: float
    times: int
    #: Who may probe until then; None: nobody, as long as it is open.
    prober: str | None = None


def said_by(holder: str, words: Words, rows: Mapping[str, Row], now: float) -> dict[str, Row]:
    """The table's rows after a process has said its words: the rule that PostgreSQL's statements follow too."""
    after = dict(rows)
    for name, opened in words.opened.items():
        row, until = after.get(name), now + opened.seconds
        if row is None or row.prober == holder:
            after[name] = Row(until, opened.times)
        else:
            after[name] = Row(max(until, row.until), max(opened.times, row.times), row.prober)
    for name in words.closed:
        if name in after and after[name].prober == holder:
            del after[name]
    for name in words.probes:
        row = after.get(name)
        if row is not None and (row.until <= now or row.prober == holder):
            after[name] = Row(now + PROBE_SECONDS, row.times, holder)
    return after


def told_to(holder: str, rows: Mapping[str, Row], now: float) -> dict[str, Told]:
    """What a process hears of all that."""
    return {name: Told(row.until - now, row.times, row.prober == holder) for name, row in rows.items()}
