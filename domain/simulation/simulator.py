"""A discrete-event simulator of one dispatcher: it runs the very strategies that dispatchers run, on its own clock.

What it leaves out: the time that a start takes on its way through the log, memory, and rate limits. A start happens at
the moment at which a slot is free and the strategy chooses it; what happens at one moment happens in this order: ends,
arrivals, starts.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from domain.simulation.concurrency import Concurrency
from domain.simulation.jobs import MICROSECONDS, Job, Outcome
from domain.strategies.strategy import Running, Strategy, Usage, Waiting

#: How often time slices are looked at while nothing else happens; what the dispatcher does, too.
TICK_US = MICROSECONDS // 4
#: A preemptible task reaches a point at which it can give its slot back so often.
CHECKPOINT_US = MICROSECONDS

_END, _ARRIVAL, _LOOK = range(3)


@dataclass(slots=True, eq=False)
class _Life:
    """A job on its way."""

    job: Job
    task: Waiting
    stay: int = 0
    #: Service that its present stay has had before it yielded.
    served_us: int = 0
    first_start_us: int | None = None
    starts: int = 0


@dataclass(slots=True, eq=False)
class _Attempt:
    """A job that occupies a slot."""

    life: _Life
    started_us: int
    ends_us: int
    yields: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """One time that a task had a slot."""

    task_id: str
    started_us: int
    ended_us: int
    #: `completed`, `failed`, or `yielded` when it gave the slot back and waits again.
    end: str


@dataclass(slots=True)
class Simulated:
    """What a simulation came to."""

    outcomes: list[Outcome] = field(default_factory=list)
    #: In the order of their ends.
    turns: list[Turn] = field(default_factory=list)
    #: Moment and task id of each start, in order.
    starts: list[tuple[int, str]] = field(default_factory=list)


def simulate(
    jobs: Iterable[Job],
    strategy: Strategy,
    slots: int,
    *,
    limits: Concurrency | None = None,
    tick_us: int = TICK_US,
    checkpoint_us: int = CHECKPOINT_US,
) -> Simulated:
    """Run the load to its end. The outcomes are in the order in which they came about."""
    return _Simulator(strategy, slots, limits or Concurrency(), tick_us, checkpoint_us).run(jobs)


class _Simulator:
    def __init__(self, strategy: Strategy, slots: int, limits: Concurrency, tick_us: int, checkpoint_us: int) -> None:
        self._strategy, self._slots, self._limits = strategy, slots, limits
        self._tick_us, self._checkpoint_us = tick_us, checkpoint_us
        self._events: list[tuple[int, int, int, Callable[[], None]]] = []
        self._serial = 0
        self._now_us = 0
        self._looks_at_us = -1
        self._lives: dict[str, _Life] = {}
        self._running: dict[str, _Attempt] = {}
        self._found = Simulated()

    def run(self, jobs: Iterable[Job]) -> Simulated:
        """See `simulate`."""
        for job in sorted(jobs, key=lambda job: (job.arrives_us, job.task.arrival)):
            self._at(job.arrives_us, _ARRIVAL, self._arrival(_Life(job, job.task)))
        while self._events:
            self._now_us = self._events[0][0]
            while self._events and self._events[0][0] == self._now_us:
                heapq.heappop(self._events)[3]()
            self._look()
        return self._found

    @property
    def _now_ms(self) -> int:
        return self._now_us // 1000

    def _at(self, moment_us: int, rank: int, action: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._events, (moment_us, rank, self._serial, action))

    def _arrival(self, life: _Life) -> Callable[[], None]:
        def arrive() -> None:
            self._lives[life.task.task_id] = life
            self._strategy.push(life.task, self._now_ms)

        return arrive

    def _look(self) -> None:
        for late in self._strategy.expired(self._now_ms):
            life = self._lives[late.task_id]
            if life.starts:
                # What began in time does not expire.
                life.task = replace(late, deadline_ms=None)
                self._strategy.push(life.task, self._now_ms)
                continue
            del self._lives[late.task_id]
            self._found.outcomes.append(Outcome(life.job, life.first_start_us, None, life.starts))
        while len(self._running) < self._slots:
            task = self._strategy.pop(self._now_ms, lambda head: self._limits.refuser(head.lane))
            if task is None:
                break
            self._start(self._lives[task.task_id])
        self._ask()

    def _start(self, life: _Life) -> None:
        self._limits.start(life.task.lane)
        life.starts += 1
        if life.first_start_us is None:
            life.first_start_us = self._now_us
        stay = life.job.stays[life.stay]
        attempt = _Attempt(life, self._now_us, self._now_us + max(0, stay.service_us - life.served_us))
        self._running[life.task.task_id] = attempt
        self._found.starts.append((self._now_us, life.task.task_id))
        self._at(attempt.ends_us, _END, lambda: self._end(attempt))

    def _ask(self) -> None:
        """Ask for slots where the strategy says so, and look again soon while that may change by time alone."""
        preemptible = any(attempt.life.job.preemptible and not attempt.yields for attempt in self._running.values())
        if not preemptible or not len(self._strategy):
            return
        free = self._slots - len(self._running)
        for task_id in self._strategy.victims(map(_seen, self._running.values()), free, self._now_ms):
            attempt = self._running[task_id]
            passed = max(1, -(-(self._now_us - attempt.started_us) // self._checkpoint_us))
            checkpoint_us = attempt.started_us + passed * self._checkpoint_us
            if checkpoint_us < attempt.ends_us:
                attempt.yields, attempt.ends_us = True, checkpoint_us
                self._at(checkpoint_us, _END, self._yielding(attempt))
        if self._looks_at_us <= self._now_us:
            self._looks_at_us = self._now_us + self._tick_us
            self._at(self._looks_at_us, _LOOK, lambda: None)

    def _yielding(self, attempt: _Attempt) -> Callable[[], None]:
        def hand_back() -> None:
            life = attempt.life
            life.served_us += self._over(attempt, "yielded")
            self._wait_again(life, self._now_us)
            self._strategy.push(life.task, self._now_ms)

        return hand_back

    def _end(self, attempt: _Attempt) -> None:
        if attempt.yields:
            return
        life = attempt.life
        done = life.stay + 1 == len(life.job.stays)
        self._over(attempt, "completed" if done else "failed")
        if done:
            del self._lives[life.task.task_id]
            self._found.outcomes.append(Outcome(life.job, life.first_start_us, self._now_us, life.starts))
            return
        life.stay, life.served_us = life.stay + 1, 0
        due_us = self._now_us + life.job.stays[life.stay].delay_us
        self._wait_again(life, due_us)
        self._at(due_us, _ARRIVAL, self._arrival(life))

    def _wait_again(self, life: _Life, since_us: int) -> None:
        life.task = replace(life.task, queued_ms=since_us // 1000)

    def _over(self, attempt: _Attempt, end: str) -> int:
        """The attempt gives its slot back; the microseconds that it had it."""
        task, stay = attempt.life.task, attempt.life.job.stays[attempt.life.stay]
        del self._running[task.task_id]
        for refuser in self._limits.end(task.lane):
            self._strategy.reopen(refuser)
        took_us = self._now_us - attempt.started_us
        tokens = None if stay.tokens is None else stay.tokens * took_us / max(stay.service_us, 1)
        self._strategy.ended(task, Usage(took_us / MICROSECONDS, tokens, end == "completed"))
        self._found.turns.append(Turn(task.task_id, attempt.started_us, self._now_us, end))
        return took_us


def _seen(attempt: _Attempt) -> Running:
    task = attempt.life.task
    return Running(
        task.task_id, task.lane, task.priority, attempt.started_us // 1000, attempt.life.job.preemptible, attempt.yields
    )
