"""How long tasks of one type take on one model, learned from those that ended."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict, deque

#: Attempts of one type and model that the estimate is made of: the latest.
SAMPLES_MAX = 63
#: Types and models that are remembered; those not seen for longest are forgotten first.
KINDS_MAX = 1000
#: What is assumed while nothing at all has been learned.
UNKNOWN_SECONDS = 30.0

#: Task type and model.
Kind = tuple[str, str | None]


class RollingMedian:
    """Median of the latest values: half of them may be outliers, and the median is still between honest ones."""

    __slots__ = ("_latest", "_sorted")

    def __init__(self) -> None:
        self._latest: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, value: float) -> None:
        """The value is the latest one."""
        if len(self._latest) == SAMPLES_MAX:
            oldest = self._latest.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]
        self._latest.append(value)
        insort(self._sorted, value)

    def value(self) -> float | None:
        """The lower median; None before the first value."""
        return self._sorted[(len(self._sorted) - 1) // 2] if self._sorted else None


class Estimates:
    """Learned service times in seconds; shared by the strategies of one worker, so that a switch forgets nothing."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[Kind, RollingMedian] = OrderedDict()
        self._all = RollingMedian()

    def learn(self, task_type: str, model: str | None, seconds: float) -> None:
        """A task of this type on this model took so long."""
        kind = (task_type, model)
        known = self._kinds.get(kind)
        if known is None:
            known = self._kinds[kind] = RollingMedian()
        self._kinds.move_to_end(kind)
        known.add(seconds)
        self._all.add(seconds)
        if len(self._kinds) > KINDS_MAX:
            self._kinds.popitem(last=False)

    def known(self, task_type: str, model: str | None) -> float | None:
        """Seconds that such a task takes; None where none has ended yet."""
        known = self._kinds.get((task_type, model))
        return None if known is None else known.value()

    def seconds(self, task_type: str, model: str | None) -> float:
        """Seconds that such a task takes; before the first one has ended, what tasks of any kind take."""
        known = self.known(task_type, model)
        if known is None:
            known = self._all.value()
        return UNKNOWN_SECONDS if known is None else known
