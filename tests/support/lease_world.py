"""Processes that share limits, a table that may hear them late or never, and an onlooker who counts; all in memory.

Each process has a clock of its own, which is ahead or behind and runs a little too fast or too slow. What it sends may
arrive late, in another order, or not at all, and so may the answer; it may be killed or frozen at any moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from domain.limits.exchange import Answer, Ask, Buckets, Lease, Terms, exchange
from domain.limits.holding import Holding
from domain.limits.limit import Key, Limit
from domain.limits.tickets import Refusal, Ticket
from tests.support.gates import lane

KEY = Key("provider", "kimi")
TERMS = Terms()
#: How long an attempt takes to end once it is told to.
GRACE_SECONDS = 1.5
#: How wrong the clocks are that a process reckons its lease by.
RATES = (0.9, 1.0, 1.1)


@dataclass
class Message:
    """One exchange on its way to the table, or its answer on the way back."""

    holder: str
    serial: int
    ask: Ask
    asked_at: float
    answer: Answer | None = None


@dataclass
class Process:
    """One worker with one limit."""

    holder: str
    holding: Holding
    offset: float
    rate: float
    serial: int = 0
    running: dict[Ticket, float | None] = field(default_factory=dict)
    pending: Message | None = None
    frozen: bool = False
    overtaken: set[Ticket] = field(default_factory=set)

    def clock(self, now: float) -> float:
        """Its monotonic clock at the world's time."""
        return self.offset + self.rate * now


class World:
    """All processes, the table and the time."""

    def __init__(self, limit: Limit, processes: int, *, slots: int = 4, clocks: Sequence[tuple[float, float]]) -> None:
        self.limit, self.now = limit, 1000.0
        self.spent: list[tuple[float, float]] = []
        self._slots, self._clocks = slots, clocks
        self._born = 0
        self._leases: dict[str, Lease] = {}
        self._buckets = Buckets()
        self._sent: list[Message] = []
        self.processes = [self._new(index) for index in range(processes)]

    @property
    def running(self) -> int:
        """What an onlooker counts: attempts that are under way, but for those of processes that are frozen too long."""
        return sum(len(process.running.keys() - self._beyond_bounds(process)) for process in self.processes)

    def start(self, index: int, cost: float = 1.0) -> bool:
        """A process starts an attempt if it may."""
        process = self.processes[index]
        if process.frozen:
            return False
        now = process.clock(self.now)
        if isinstance(process.holding.refusal(cost, now), Refusal):
            return False
        ticket = Ticket(lane("acme"), cost, now)
        process.holding.take(ticket)
        process.running[ticket] = None
        self.spent.append((self.now, cost))
        return True

    def end(self, index: int, tokens: float | None = None) -> None:
        """The first attempt of a process ends."""
        process = self.processes[index]
        if process.running and not process.frozen:
            self._end(process, next(iter(process.running)), tokens)

    def send(self, index: int, *, renewal: bool = True) -> None:
        """A process asks; what it asked before, and has not been answered, it forgets."""
        process = self.processes[index]
        if process.frozen:
            return
        self._stop_lapsed(process)
        process.serial += 1
        ask = process.holding.ask(renewal=renewal)
        process.pending = Message(process.holder, process.serial, ask, process.clock(self.now))
        self._sent.append(process.pending)

    def arrive(self, position: int) -> None:
        """One of the messages under way, in any order, reaches the table."""
        if not self._sent:
            return
        message = self._sent.pop(position % len(self._sent))
        before = self._leases.get(message.holder)
        if before is not None and before.serial >= message.serial:
            return
        lease, self._buckets, message.answer = exchange(
            message.ask, message.holder, message.serial, list(self._leases.values()), self._buckets, self.now, TERMS
        )
        self._leases[message.holder] = lease
        if message.ask.idle:
            del self._leases[message.holder]

    def answer(self, index: int) -> None:
        """A process hears the answer to what it asked last, if there is one."""
        process = self.processes[index]
        message = process.pending
        if process.frozen or message is None or message.answer is None:
            return
        process.pending = None
        valid_until = message.asked_at + TERMS.lease_seconds - TERMS.margin_seconds
        process.holding.answered(message.ask, message.answer, valid_until, process.clock(self.now))
        process.holding.reopened(process.clock(self.now))

    def exchange(self, index: int, *, renewal: bool = False) -> None:
        """All three at once, as it mostly goes."""
        self.send(index, renewal=renewal)
        self.arrive(len(self._sent) - 1)
        self.answer(index)

    def lose(self, position: int) -> None:
        """A message never arrives."""
        if self._sent:
            self._sent.pop(position % len(self._sent))

    def kill(self, index: int) -> None:
        """A process dies with all its attempts; another one is started."""
        self.processes[index] = self._new(index)

    def freeze(self, index: int) -> None:
        """A process does nothing, and its attempts go on."""
        self.processes[index].frozen = True

    def thaw(self, index: int) -> None:
        """A process goes on, and may start something before it has looked at what lapsed meanwhile."""
        process = self.processes[index]
        process.overtaken = self._beyond_bounds(process)
        process.frozen = False

    def pass_time(self, seconds: float) -> None:
        """Time passes in steps in which each process looks after itself, as its dispatcher does."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.25)
            for process in self.processes:
                if not process.frozen:
                    self._stop_lapsed(process)

    def _stop_lapsed(self, process: Process) -> None:
        for ticket in process.holding.lapsed(process.clock(self.now)):
            if process.running[ticket] is None:
                process.running[ticket] = self.now + GRACE_SECONDS
        for ticket, until in list(process.running.items()):
            if until is not None and until <= self.now:
                self._end(process, ticket, None)

    def _end(self, process: Process, ticket: Ticket, tokens: float | None) -> None:
        del process.running[ticket]
        process.holding.put_back(ticket, tokens)

    def _beyond_bounds(self, process: Process) -> set[Ticket]:
        """What no lease can bound: attempts of a process that was frozen when its lease ended, until it stops them."""
        lease = self._leases.get(process.holder)
        out = process.frozen and (lease is None or lease.expires_at <= self.now)
        return set(process.running) if out else process.overtaken & process.running.keys()

    def _new(self, index: int) -> Process:
        self._born += 1
        offset, rate = self._clocks[index % len(self._clocks)]
        return Process(f"h{self._born:04d}", Holding(KEY, self.limit, self._slots), offset, rate)
