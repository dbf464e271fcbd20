"""Ageing: an order by urgency that starves nobody, with a bound on every wait that can be computed.

The order is strict, but once the longest-waiting startable task has waited `after_seconds`, one start in `every` goes
to the longest-waiting one. So a task that `older` ones precede by their wait starts, at the latest, after
`after_seconds` and `every x (older + 1)` starts; and urgent tasks keep all other starts, whatever backlog has aged.
"""

from __future__ import annotations

from domain.strategies.closures import Group
from domain.strategies.lane_order import LaneOrder, Order
from domain.strategies.strategy import Lane, Usage, WaitBound, Waiting


def by_wait(task: Waiting) -> tuple[float, ...]:
    """Key of the order in which tasks began to wait."""
    return (task.since_ms, *task.arrival)


def ageing_bound(after_seconds: float, every: int, older: int) -> WaitBound:
    """The longest wait under ageing of a startable task that `older` startable ones precede by their wait.

    From `after_seconds` on, each `every` starts in a row hold one of the longest-waiting task, which is the task itself
    or one of the older ones; nobody becomes older than it is.
    """
    return WaitBound(after_seconds, every * (older + 1))


class Aged:
    """An order with ageing; both orders hold the same tasks. See `Order`."""

    def __init__(self, urgency: Order, waits: LaneOrder, after_seconds: float, every: int) -> None:
        self._urgency, self._waits = urgency, waits
        self._after_ms, self._every = round(after_seconds * 1000), every
        #: Starts since the longest-waiting task was last served.
        self._passed_over = 0
        #: Of the startable tasks, the one that has waited longest, as of the last choice.
        self._oldest: Waiting | None = None

    def add(self, task: Waiting) -> None:
        """See `Order.add`."""
        self._urgency.add(task)
        self._waits.add(task)

    def remove(self, task: Waiting) -> None:
        """See `Order.remove`."""
        self._urgency.remove(task)
        self._waits.remove(task)

    def moved(self, item: Lane | Group, before: Group | None) -> None:
        """See `Order.moved`."""
        self._urgency.moved(item, before)
        self._waits.moved(item, before)

    def turned(self, group: Group) -> None:
        """See `Order.turned`."""
        self._urgency.turned(group)
        self._waits.turned(group)

    def choose(self, now_ms: int) -> Waiting | None:
        """See `Order.choose`."""
        oldest = self._oldest = self._waits.choose(now_ms)
        if oldest is None:
            return None
        if self._passed_over + 1 >= self._every and now_ms - oldest.since_ms >= self._after_ms:
            return oldest
        return self._urgency.choose(now_ms)

    def by_age(self, task: Waiting) -> bool:
        """See `Order.by_age`."""
        return task is self._oldest and self._urgency.choose(0) is not task

    def started(self, task: Waiting) -> None:
        """See `Order.started`."""
        self._passed_over = 0 if task is self._oldest else self._passed_over + 1
        self._urgency.started(task)

    def ended(self, task: Waiting, usage: Usage) -> None:
        """See `Order.ended`."""
        self._urgency.ended(task, usage)
