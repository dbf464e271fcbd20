"""A recorded load under a strategy: the recorded decisions once more, or other ones.

`replay` asks a strategy again at each recorded moment of a start, and says whether it chooses what was started then: so
the recorded strategy is shown to be the one that was at work. `as_jobs` makes a load of a recording, for the simulator.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from domain.simulation.jobs import MICROSECONDS, Job, Stay
from domain.simulation.recording import Visit
from domain.strategies.strategy import Lane, Refuser, Strategy, Usage, Waiting

#: A strategy by its name, in which nothing waits yet; the same estimates for each of one worker.
MakeStrategy = Callable[[str], Strategy]

_END, _ARRIVAL, _CHANGE, _START = range(4)


@dataclass(slots=True)
class Replayed:
    """How a strategy's decisions compare with the recorded ones."""

    #: Starts that it chose as they were recorded, with nothing more to say.
    exact: int = 0
    #: Starts that it chose once lanes were left out that limits may have kept closed: which ones, no record says.
    behind_limits: int = 0
    #: Task ids of the starts that it would not have made at that moment.
    different: list[str] = field(default_factory=list)

    @property
    def starts(self) -> int:
        """All that were recorded."""
        return self.exact + self.behind_limits + len(self.different)

    def add(self, other: Replayed) -> None:
        """Those of another worker, too."""
        self.exact += other.exact
        self.behind_limits += other.behind_limits
        self.different += other.different


def by_worker(visits: Iterable[Visit]) -> dict[str, list[Visit]]:
    """Visits by the worker that made the decision; each one has a window and a strategy of its own.

    What never started is nobody's: it is left out where several workers are told of.
    """
    visits = list(visits)
    workers = {visit.worker for visit in visits if visit.worker is not None}
    only = next(iter(workers)) if len(workers) == 1 else None
    found: defaultdict[str, list[Visit]] = defaultdict(list)
    for visit in visits:
        worker = visit.worker or only
        if worker is not None:
            found[worker].append(visit)
    return dict(found)


def replay(visits: Sequence[Visit], make: MakeStrategy, strategy: str | None = None) -> Replayed:
    """The decisions of one worker once more; `strategy` in place of the recorded one, where it is given."""
    return _Replay(make, strategy).run(visits)


class _Replay:
    def __init__(self, make: MakeStrategy, always: str | None) -> None:
        self._make, self._always = make, always
        self._name: str | None = None
        self._strategy: Strategy | None = None
        self._waiting: dict[str, Waiting] = {}
        self._started: set[str] = set()
        self._found = Replayed()

    def run(self, visits: Sequence[Visit]) -> Replayed:
        first = min((v for v in visits if v.started_us is not None), key=lambda v: v.started_us or 0, default=None)
        if first is not None:
            self._switch(self._named(first), first.started_us or 0)
        moments = sorted(_moments(visits), key=lambda moment: (moment[0], moment[1], moment[2].task.arrival))
        for (at_us, kind), group in groupby(moments, key=lambda moment: moment[:2]):
            together = [visit for _, _, visit in group]
            if kind == _START:
                self._start(together, at_us)
            else:
                for visit in together:
                    self._happen(kind, visit, at_us)
        return self._found

    def _named(self, visit: Visit) -> str:
        return self._always or visit.strategy or "priority"

    def _switch(self, name: str, at_us: int) -> None:
        old, self._strategy, self._name = self._strategy, self._make(name), name
        for task in old.waiting() if old is not None else ():
            self._strategy.push(task, at_us // 1000)

    def _happen(self, kind: int, visit: Visit, at_us: int) -> None:
        strategy = self._current()
        if kind == _ARRIVAL:
            self._push(visit.task, at_us)
        elif kind == _CHANGE:
            changed = next(priority for moment, priority in visit.changes if moment == at_us)
            if (task := self._waiting.get(visit.task.task_id)) is not None:
                self._push(replace(task, priority=changed), at_us)
        elif visit.started_us is None:
            strategy.discard(visit.task.task_id)
            self._waiting.pop(visit.task.task_id, None)
        else:
            seconds = (at_us - visit.started_us) / MICROSECONDS
            strategy.ended(visit.task, Usage(seconds, visit.tokens, visit.complete))

    def _push(self, task: Waiting, at_us: int) -> None:
        self._waiting[task.task_id] = task
        self._current().push(task, at_us // 1000)

    def _start(self, together: list[Visit], at_us: int) -> None:
        """The starts of one look, which share one moment: their order among one another is the strategy's."""
        if (name := self._named(together[0])) != self._name:
            self._switch(name, at_us)
        strategy = self._current()
        for late in strategy.expired(at_us // 1000):
            if late.task_id in self._started:
                # What began in time does not expire.
                self._push(replace(late, deadline_ms=None), at_us)
        wanted = {visit.task.task_id for visit in together}
        self._started |= wanted
        refused: set[Lane] = set()

        def refuser(task: Waiting) -> Refuser | None:
            if task.task_id in wanted:
                return None
            refused.add(task.lane)
            return Refuser.of(task.lane)

        while wanted:
            before = len(refused)
            task = strategy.pop(at_us // 1000, refuser)
            if task is None:
                break
            wanted.discard(task.task_id)
            self._waiting.pop(task.task_id, None)
            if len(refused) == before:
                self._found.exact += 1
            else:
                self._found.behind_limits += 1
        for task_id in sorted(wanted):
            strategy.discard(task_id)
            self._waiting.pop(task_id, None)
            self._found.different.append(task_id)
        for lane in refused:
            strategy.reopen(Refuser.of(lane))

    def _current(self) -> Strategy:
        assert self._strategy is not None, "it is made before anything happens"
        return self._strategy


def _moments(visits: Iterable[Visit]) -> Iterable[tuple[int, int, Visit]]:
    for visit in visits:
        yield visit.arrives_us, _ARRIVAL, visit
        for at_us, _ in visit.changes:
            yield at_us, _CHANGE, visit
        if visit.started_us is not None:
            yield visit.started_us, _START, visit
        if visit.ended_us is not None:
            yield visit.ended_us, _END, visit


def as_jobs(visits: Iterable[Visit]) -> list[Job]:
    """The load of one worker: what came when, and how long it ran. What did not start and end has no length."""
    courses: defaultdict[tuple[str, int], list[Visit]] = defaultdict(list)
    for visit in visits:
        if visit.started_us is not None and visit.ended_us is not None:
            courses[visit.task.task_id, visit.run].append(visit)
    return [_job(course) for course in courses.values()]


def _job(course: list[Visit]) -> Job:
    stays: list[Stay] = []
    goes_on = False
    before: Visit | None = None
    for visit in course:
        service_us = (visit.ended_us or 0) - (visit.started_us or 0)
        if goes_on:
            # A turn that was given back and taken up again is one stay.
            stays[-1] = Stay(stays[-1].service_us + service_us, stays[-1].delay_us, visit.tokens)
        else:
            delay_us = 0 if before is None else max(0, visit.arrives_us - (before.ended_us or 0))
            stays.append(Stay(service_us, delay_us, visit.tokens))
        goes_on, before = visit.yielded, visit
    first = course[0]
    preemptible = any(visit.preemptible or visit.yielded for visit in course)
    task = replace(first.task, priority=first.priority)
    return Job(task, first.arrives_us, tuple(stays), preemptible)


def slots_seen(visits: Iterable[Visit]) -> int:
    """The most attempts of one worker that ran at a time; 0 where none did."""
    changes = sorted(
        change
        for visit in visits
        if visit.started_us is not None
        for change in ((visit.started_us, 1), (visit.ended_us or 2**63, -1))
    )
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most
