"""The shortest estimate first: the sender's, else what tasks of that type took on that model."""

from __future__ import annotations

from domain.strategies.closures import Closures, Group
from domain.strategies.estimates import Estimates, Kind
from domain.strategies.heads import Heads
from domain.strategies.lane_order import Key, LaneOrder
from domain.strategies.strategy import Lane, Usage, Waiting

#: Where tasks with an estimate of their own wait; the others wait with their kind.
GIVEN: Kind = ("", None)


def kind_of(lane: Lane) -> Kind:
    """What the lane's tasks have in common that their service time is learned by."""
    return (lane.task_type, lane.model)


class ShortestFirst:
    """See `Order`. What is learned moves a kind, not its tasks: as far as we know they all take the same time.

    So what closes and opens concerns each kind, but none of its tasks.
    """

    def __init__(self, learned: Estimates, closures: Closures) -> None:
        self._learned, self._closures = learned, closures
        self._kinds: dict[Kind, LaneOrder] = {}
        self._heads: Heads[Kind] = Heads()
        #: Kinds of which no task has ended: what they are taken for moves with every other kind.
        self._unknown: dict[Kind, None] = {}

    def add(self, task: Waiting) -> None:
        """See `Order.add`."""
        kind = _place(task)
        if kind not in self._kinds:
            key = _by_arrival if kind != GIVEN else _by_given
            self._kinds[kind] = LaneOrder(key, self._closures)
            if kind != GIVEN and self._learned.known(*kind) is None:
                self._unknown[kind] = None
        self._kinds[kind].add(task)
        self._set_head(kind)

    def remove(self, task: Waiting) -> None:
        """See `Order.remove`."""
        kind = _place(task)
        self._kinds[kind].remove(task)
        self._set_head(kind)
        if not len(self._kinds[kind]):
            del self._kinds[kind]
            self._unknown.pop(kind, None)

    def moved(self, item: Lane | Group, before: Group | None) -> None:
        """See `Order.moved`."""
        for kind in list(self._kinds) if isinstance(item, Group) else (kind_of(item), GIVEN):
            if kind in self._kinds:
                self._kinds[kind].moved(item, before)
                self._set_head(kind)

    def turned(self, group: Group) -> None:
        """See `Order.turned`."""
        for kind, order in self._kinds.items():
            if order.reaches(group):
                order.turned(group)
                self._set_head(kind)

    def choose(self, now_ms: int) -> Waiting | None:
        """See `Order.choose`."""
        kind = self._heads.top()
        return None if kind is None else self._kinds[kind].choose(now_ms)

    def by_age(self, task: Waiting) -> bool:
        """See `Order.by_age`."""
        return False

    def started(self, task: Waiting) -> None:
        """See `Order.started`: nothing to learn from it."""

    def ended(self, task: Waiting, usage: Usage) -> None:
        """See `Order.ended`. The estimates have learned of it already."""
        kind = kind_of(task.lane)
        self._unknown.pop(kind, None)
        for moved in (kind, *self._unknown):
            if moved in self._kinds:
                self._set_head(moved)

    def _set_head(self, kind: Kind) -> None:
        task = self._kinds[kind].choose(0)
        if task is None:
            self._heads.remove(kind)
        elif task.estimate_seconds is not None:
            self._heads.set(kind, _by_given(task))
        else:
            self._heads.set(kind, (self._learned.seconds(*kind), *task.arrival))


def _place(task: Waiting) -> Kind:
    return kind_of(task.lane) if task.estimate_seconds is None else GIVEN


def _by_given(task: Waiting) -> Key:
    return (task.estimate_seconds or 0.0, *task.arrival)


def _by_arrival(task: Waiting) -> Key:
    return task.arrival
