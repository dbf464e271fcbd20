"""What a worker remembers of tasks that it does not hold. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Generic, Protocol, TypeVar

#: Tasks that are remembered at a time; the oldest are forgotten first.
REMEMBERED_MAX = 100_000


class _Ordered(Protocol):
    def __gt__(self, other: Any, /) -> bool: ...


T = TypeVar("T", bound=_Ordered)


class Remembered(Generic[T]):
    """The greatest value that was said of each of the latest tasks, such as the newest run that has ended."""

    def __init__(self, nothing: T) -> None:
        self._nothing = nothing
        self._values: OrderedDict[str, T] = OrderedDict()

    def add(self, task_id: str, value: T) -> None:
        """Remember a value of a task, unless a greater one is known."""
        known = self._values.pop(task_id, self._nothing)
        self._values[task_id] = value if value > known else known
        if len(self._values) > REMEMBERED_MAX:
            self._values.popitem(last=False)

    def of(self, task_id: str) -> T:
        """The greatest value known of a task; what stands for nothing where it is not remembered."""
        return self._values.get(task_id, self._nothing)
