"""Who is asked to make room for those that wait. A slot is only asked for, never taken: the handler gives it back.

What waits in a closed lane claims a slot too, but only of an attempt whose end may open it: one on its own model, or,
where tasks have none, one of its own lane. Otherwise a task would be stopped for one that still could not start.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from domain.strategies.strategy import Lane, Running, Waiting

#: Tasks that ageing started and that may be remembered beside as many as run.
STALE_MAX = 64

#: What closed lanes are grouped by.
Gate = str | Lane


def gate_of(lane: Lane) -> Gate:
    """What an attempt of the lane may hold closed for others."""
    return lane if lane.model is None else lane.model


class Demand:
    """How many tasks of each priority wait in open lanes, and behind each closed gate. O(1) a task."""

    def __init__(self) -> None:
        #: Waiting tasks in open lanes, by priority.
        self.open: Counter[int] = Counter()
        #: Waiting tasks in closed lanes, by priority.
        self.behind: dict[Gate, Counter[int]] = {}
        self._lanes: defaultdict[Lane, Counter[int]] = defaultdict(Counter)

    def add(self, task: Waiting, closed: bool) -> None:
        """The task waits, in a lane that is closed or not."""
        self._lanes[task.lane][task.priority] += 1
        self._move(task.lane, closed, Counter({task.priority: 1}))

    def remove(self, task: Waiting, closed: bool) -> None:
        """The task waits no more."""
        lane = self._lanes[task.lane]
        lane[task.priority] -= 1
        if not lane[task.priority]:
            del lane[task.priority]
        if not lane:
            del self._lanes[task.lane]
        self._move(task.lane, closed, Counter({task.priority: -1}))

    def close(self, lane: Lane) -> None:
        """The lane, which was open, is closed."""
        self._switch(lane, closed=True)

    def reopen(self, lane: Lane) -> None:
        """The lane, which was closed, is open."""
        self._switch(lane, closed=False)

    def _switch(self, lane: Lane, *, closed: bool) -> None:
        counts = self._lanes.get(lane)
        if counts:
            self._move(lane, closed, counts)
            self._move(lane, not closed, Counter({priority: -count for priority, count in counts.items()}))

    def _move(self, lane: Lane, closed: bool, counts: Counter[int]) -> None:
        gate = gate_of(lane)
        target = self.behind.setdefault(gate, Counter()) if closed else self.open
        for priority, count in counts.items():
            target[priority] += count
            if not target[priority]:
                del target[priority]
        if closed and not target:
            del self.behind[gate]


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
        wanted = self.demand.open.total() - free_slots - len(asked)
        chosen = [attempt.task_id for attempt in candidates[: max(0, wanted)]]
        behind = {gate: counts.total() for gate, counts in self.demand.behind.items()} if candidates else {}
        for attempt in asked:
            behind[gate_of(attempt.lane)] = behind.get(gate_of(attempt.lane), 0) - 1
        for attempt in candidates[len(chosen) :]:
            if behind.get(gate_of(attempt.lane), 0) > 0:
                behind[gate_of(attempt.lane)] -= 1
                chosen.append(attempt.task_id)
        return chosen

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
        if by_age:
            self._by_age.add(task.task_id)

    def ended(self, task_id: str) -> None:
        """See `NobodyAsks.ended`."""
        self._by_age.discard(task_id)

    def victims(self, running: Iterable[Running], free_slots: int, now_ms: int) -> list[str]:
        """See `Strategy.victims`."""
        running = list(running)
        if len(self._by_age) > 2 * len(running) + STALE_MAX:
            # Whose end nobody told; what is about to start is not among `running` yet, and keeps its mark.
            self._by_age.intersection_update(attempt.task_id for attempt in running)
        asked = [attempt for attempt in running if attempt.asked]
        candidates = sorted(
            (attempt for attempt in running if attempt.preemptible and not attempt.asked),
            key=lambda attempt: (-attempt.priority, attempt.started_ms, attempt.task_id),
        )
        # The best victim is the last one, so that taking it leaves the others in place.
        candidates = [attempt for attempt in candidates if attempt.task_id not in self._by_age]
        chosen = _claim(candidates, self.demand.open, free_slots + len(asked))
        for gate in dict.fromkeys(gate_of(attempt.lane) for attempt in candidates):
            if (claims := self.demand.behind.get(gate)) is not None:
                same = [attempt for attempt in candidates if gate_of(attempt.lane) == gate]
                covered = sum(1 for attempt in asked if gate_of(attempt.lane) == gate)
                chosen += _claim([attempt for attempt in same if attempt.task_id not in chosen], claims, covered)
        return chosen


def _claim(candidates: list[Running], claims: Counter[int], covered: int) -> list[str]:
    """Victims for the claims, highest first, after those that are covered already."""
    candidates = list(candidates)
    chosen: list[str] = []
    for priority in sorted(claims, reverse=True):
        served = min(covered, claims[priority])
        covered -= served
        for _ in range(claims[priority] - served):
            if not candidates or candidates[-1].priority >= priority:
                return chosen
            chosen.append(candidates.pop().task_id)
    return chosen
