"""Who is asked to make room for those that wait. A slot is only asked for, never taken: the handler gives it back.

What waits in a closed lane claims a slot too, but only of an attempt whose end may open it: one on its own model, or,
where tasks have none, one of its own lane; and only of one that ran already when the lane was closed. Otherwise a task
would be stopped, and stopped again as soon as it goes on, for one that still could not start.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from domain.strategies.strategy import Lane, Running, Waiting

#: Starts that may be remembered beside as many as there are running attempts.
STALE_MAX = 64

#: What closed lanes are grouped by.
Gate = str | Lane


def gate_of(lane: Lane) -> Gate:
    """What an attempt of the lane may hold closed for others."""
    return lane if lane.model is None else lane.model


class Demand:
    """How many tasks of each priority wait in open lanes, and in each closed one. O(1) a task."""

    def __init__(self) -> None:
        #: Waiting tasks in open lanes, by priority.
        self.open: Counter[int] = Counter()
        #: Waiting tasks of each lane, by priority.
        self.lanes: defaultdict[Lane, Counter[int]] = defaultdict(Counter)
        #: The closed lanes behind each gate, with the step at which each one was closed.
        self.behind: defaultdict[Gate, dict[Lane, int]] = defaultdict(dict)
        #: The step at which each running attempt started.
        self._starts: dict[str, int] = {}
        self._step = 0

    def add(self, task: Waiting, closed: bool) -> None:
        """The task waits, in a lane that is closed or not."""
        self._count(self.lanes[task.lane], task.priority, 1)
        if not closed:
            self._count(self.open, task.priority, 1)

    def remove(self, task: Waiting, closed: bool) -> None:
        """The task waits no more."""
        lane = self.lanes[task.lane]
        self._count(lane, task.priority, -1)
        if not closed:
            self._count(self.open, task.priority, -1)
        if not lane:
            del self.lanes[task.lane]
            if closed:
                self._forget(task.lane)

    def close(self, lane: Lane) -> None:
        """The lane, which was open, is closed."""
        self._step += 1
        self.behind[gate_of(lane)][lane] = self._step
        for priority, count in self.lanes[lane].items():
            self._count(self.open, priority, -count)

    def reopen(self, lane: Lane) -> None:
        """The lane, which was closed, is open."""
        self._forget(lane)
        for priority, count in self.lanes[lane].items():
            self._count(self.open, priority, count)

    def started(self, task_id: str) -> None:
        """An attempt of the task starts."""
        self._step += 1
        self._starts[task_id] = self._step

    def ended(self, task_id: str) -> None:
        """No attempt of the task runs."""
        self._starts.pop(task_id, None)

    def forget_all_but(self, running: Iterable[Running], count: int) -> None:
        """Starts whose end nobody told are forgotten when they have become many."""
        if len(self._starts) > 2 * count + STALE_MAX:
            ids = {attempt.task_id for attempt in running}
            self._starts = {task_id: step for task_id, step in self._starts.items() if task_id in ids}

    def claims(self, candidates: Iterable[Running]) -> list[tuple[Lane, list[Running]]]:
        """Closed lanes, the most urgent first, with those of the candidates whose end may open each."""
        by_gate: defaultdict[Gate, list[Running]] = defaultdict(list)
        for attempt in candidates:
            by_gate[gate_of(attempt.lane)].append(attempt)
        found = [
            (lane, [attempt for attempt in attempts if self._starts.get(attempt.task_id, 0) < step])
            for gate, attempts in by_gate.items()
            for lane, step in self.behind.get(gate, {}).items()
        ]
        return sorted(found, key=lambda claim: -max(self.lanes[claim[0]]))

    def _forget(self, lane: Lane) -> None:
        lanes = self.behind[gate_of(lane)]
        lanes.pop(lane, None)
        if not lanes:
            del self.behind[gate_of(lane)]

    @staticmethod
    def _count(counts: Counter[int], priority: int, change: int) -> None:
        counts[priority] += change
        if not counts[priority]:
            del counts[priority]


class NobodyAsks:
    """Each attempt runs to its end."""

    def __init__(self) -> None:
        #: None where nobody needs to know it.
        self.demand: Demand | None = None

    def victims(self, running: Iterable[Running], free_slots: int, now_ms: int) -> list[str]:
        """See `Strategy.victims`."""
        return []

    def started(self, task: Waiting, by_age: bool) -> None:
        """The task starts; `by_age` only because it has waited for longest."""

    def ended(self, task_id: str) -> None:
        """An attempt of the task is over, or the task waits again."""


class TimeSlices(NobodyAsks):
    """A turn ends after a slice where others wait for it, the longest turn first, as many as others wait for."""

    def __init__(self, slice_seconds: float) -> None:
        self.demand: Demand = Demand()
        self._slice_ms = round(slice_seconds * 1000)

    def victims(self, running: Iterable[Running], free_slots: int, now_ms: int) -> list[str]:
        """See `Strategy.victims`."""
        running = list(running)
        asked = [attempt for attempt in running if attempt.asked]
        candidates = sorted(
            (attempt for attempt in running if self._has_had_its_turn(attempt, now_ms)),
            key=lambda attempt: (attempt.started_ms, attempt.task_id),
        )
        self.demand.forget_all_but(running, len(running))
        wanted = self.demand.open.total() - free_slots - len(asked)
        chosen = [attempt.task_id for attempt in candidates[: max(0, wanted)]]
        covered = Counter(gate_of(attempt.lane) for attempt in asked)
        for lane, attempts in self.demand.claims(candidates[len(chosen) :]):
            wanted = self.demand.lanes[lane].total()
            served = min(wanted, covered[gate_of(lane)])
            covered[gate_of(lane)] -= served
            left = [attempt.task_id for attempt in attempts if attempt.task_id not in chosen]
            chosen += left[: wanted - served]
        return chosen

    def started(self, task: Waiting, by_age: bool) -> None:
        """See `NobodyAsks.started`."""
        self.demand.started(task.task_id)

    def ended(self, task_id: str) -> None:
        """See `NobodyAsks.ended`."""
        self.demand.ended(task_id)

    def _has_had_its_turn(self, attempt: Running, now_ms: int) -> bool:
        return attempt.preemptible and not attempt.asked and now_ms - attempt.started_ms >= self._slice_ms


class Preemption(NobodyAsks):
    """An attempt makes room for a task of higher priority: the lowest first, and among equals the latest started.

    What ageing started is left alone: its turn came by a bound that must also let it get on.
    """

    def __init__(self) -> None:
        self.demand: Demand = Demand()
        self._by_age: set[str] = set()

    def started(self, task: Waiting, by_age: bool) -> None:
        """See `NobodyAsks.started`."""
        self.demand.started(task.task_id)
        if by_age:
            self._by_age.add(task.task_id)

    def ended(self, task_id: str) -> None:
        """See `NobodyAsks.ended`."""
        self.demand.ended(task_id)
        self._by_age.discard(task_id)

    def victims(self, running: Iterable[Running], free_slots: int, now_ms: int) -> list[str]:
        """See `Strategy.victims`."""
        running = list(running)
        self.demand.forget_all_but(running, len(running))
        if len(self._by_age) > 2 * len(running) + STALE_MAX:
            # Whose end nobody told; what is about to start is not among `running` yet, and keeps its mark.
            self._by_age.intersection_update(attempt.task_id for attempt in running)
        asked = [attempt for attempt in running if attempt.asked]
        # The best victim is the last one, so that taking it leaves the others in place.
        candidates = sorted(
            (attempt for attempt in running if self._may_be_asked(attempt)),
            key=lambda attempt: (-attempt.priority, attempt.started_ms, attempt.task_id),
        )
        chosen, _ = _claim(candidates, self.demand.open, free_slots + len(asked))
        covered = Counter(gate_of(attempt.lane) for attempt in asked)
        for lane, attempts in self.demand.claims(candidates):
            left = [attempt for attempt in attempts if attempt.task_id not in chosen]
            taken, covered[gate_of(lane)] = _claim(left, self.demand.lanes[lane], covered[gate_of(lane)])
            chosen += taken
        return chosen

    def _may_be_asked(self, attempt: Running) -> bool:
        return attempt.preemptible and not attempt.asked and attempt.task_id not in self._by_age


def _claim(candidates: list[Running], claims: Counter[int], covered: int) -> tuple[list[str], int]:
    """Victims for the claims, highest first, after those that are covered already; and how much of that is left."""
    candidates = list(candidates)
    chosen: list[str] = []
    for priority in sorted(claims, reverse=True):
        served = min(covered, claims[priority])
        covered -= served
        for _ in range(claims[priority] - served):
            if not candidates or candidates[-1].priority >= priority:
                return chosen, covered
            chosen.append(candidates.pop().task_id)
    return chosen, covered
