"""Who is asked to make room for those that wait. A slot is only asked for, never taken: the handler gives it back.

What waits in a closed lane claims a slot too, but only of an attempt whose end may open it: one on its own model, or,
where tasks have none, one of its own lane; and only of one that ran already when the lane was closed. Otherwise a task
would be stopped, and stopped again as soon as it goes on, for one that still could not start.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from domain.strategies.closures import Group
from domain.strategies.strategy import Lane, Running, Waiting

#: Starts that may be remembered beside as many as there are running attempts.
STALE_MAX = 64

#: What closed lanes are grouped by.
Gate = str | Lane


def gate_of(lane: Lane) -> Gate:
    """What an attempt of the lane may hold closed for others."""
    return lane if lane.model is None else lane.model


@dataclass(frozen=True, slots=True)
class Claim:
    """Tasks of closed lanes with the attempts whose end may open these."""

    gate: Gate
    #: Tasks by priority.
    tasks: Counter[int]
    attempts: list[Running]


class Demand:
    """How many tasks of each priority wait in open lanes, and behind each gate in closed ones. O(1) a task."""

    def __init__(self) -> None:
        #: Waiting tasks in open lanes, by priority.
        self.open: Counter[int] = Counter()
        #: Waiting tasks of each lane, by priority.
        self._lanes: defaultdict[Lane, Counter[int]] = defaultdict(Counter)
        #: What would be startable if the group were open: tasks in it, closed groups within it left out.
        self._within: defaultdict[Group, Counter[int]] = defaultdict(Counter)
        #: Waiting tasks behind each gate that lie in groups, open ones included, by group and priority.
        self._behind: defaultdict[Gate, defaultdict[Group, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
        #: The step at which each closed group was closed.
        self._closed_at: WeakKeyDictionary[Group, int] = WeakKeyDictionary()
        #: The step at which each running attempt started.
        self._starts: dict[str, int] = {}
        self._step = 0

    def add(self, task: Waiting, group: Group | None) -> None:
        """The task waits, in a lane of the group."""
        self._change(task.lane, group, {task.priority: 1}, 1)

    def remove(self, task: Waiting, group: Group | None) -> None:
        """The task waits no more."""
        self._change(task.lane, group, {task.priority: 1}, -1)

    def moved(self, item: Lane | Group, before: Group | None, group: Group) -> None:
        """What was right within a group before is in another one."""
        if isinstance(item, Lane):
            counts = self._lanes[item].copy()
            self._change(item, before, counts, -1)
            self._change(item, group, counts, 1)
        else:
            counts = self._within.get(item, Counter())
            self._show(before, counts, -1)
            self._show(group, counts, 1)

    def turned(self, group: Group) -> None:
        """The group was closed or opened."""
        self._show(group.parent, self._within.get(group, Counter()), 1 if group.is_open else -1)
        if not group.is_open:
            self._step += 1
            self._closed_at[group] = self._step

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

    def claims(self, candidates: Iterable[Running]) -> list[Claim]:
        """What waits in closed lanes, the most urgent first, with those of the candidates whose end may open each."""
        by_gate: defaultdict[Gate, list[Running]] = defaultdict(list)
        for attempt in candidates:
            by_gate[gate_of(attempt.lane)].append(attempt)
        found = [
            Claim(gate, tasks, [each for each in attempts if self._starts.get(each.task_id, 0) < closed_at])
            for gate, attempts in by_gate.items()
            for group, tasks in (self._behind[gate].items() if gate in self._behind else ())
            if (closed_at := self._since(group)) is not None
        ]
        return sorted(found, key=lambda claim: -max(claim.tasks))

    def _since(self, group: Group) -> int | None:
        """The step at which the group's lanes were closed; None where they are open."""
        return min((self._closed_at[each] for each in group.path() if not each.is_open), default=None)

    def _change(self, lane: Lane, group: Group | None, counts: Mapping[int, int], sign: int) -> None:
        self._show(group, counts, sign)
        _count(self._lanes[lane], counts, sign)
        if not self._lanes[lane]:
            del self._lanes[lane]
        if group is None:
            return
        behind = self._behind[gate_of(lane)]
        _count(behind[group], counts, sign)
        if not behind[group]:
            del behind[group]
        if not behind:
            del self._behind[gate_of(lane)]

    def _show(self, group: Group | None, counts: Mapping[int, int], sign: int) -> None:
        """What is within the group has changed, and within those outside, as far as they see it."""
        while group is not None:
            _count(self._within[group], counts, sign)
            if not self._within[group]:
                del self._within[group]
            if not group.is_open:
                return
            group = group.parent
        _count(self.open, counts, sign)


def _count(counts: Counter[int], change: Mapping[int, int], sign: int) -> None:
    for priority, number in change.items():
        counts[priority] += sign * number
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
        for claim in self.demand.claims(candidates[len(chosen) :]):
            wanted = claim.tasks.total()
            served = min(wanted, covered[claim.gate])
            covered[claim.gate] -= served
            left = [attempt.task_id for attempt in claim.attempts if attempt.task_id not in chosen]
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
        for claim in self.demand.claims(candidates):
            left = [attempt for attempt in claim.attempts if attempt.task_id not in chosen]
            taken, covered[claim.gate] = _claim(left, claim.tasks, covered[claim.gate])
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
