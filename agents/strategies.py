"""In which order waiting tasks start. Pure: the clock is passed in, so that a simulator can run the same objects."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a strategy may know of a task."""

    task_id: str
    priority: int
    #: Milliseconds since 1970 at which the log accepted it; the order among tasks of one millisecond is by `tie`.
    accepted_ms: int
    tie: tuple[int, int] = (0, 0)


class Strategy(Protocol):
    """An order over waiting tasks."""

    def push(self, task: Waiting) -> None:
        """The task waits from now on; a task that waits already is replaced."""

    def pop(self, now_ms: int) -> Waiting | None:
        """The task to start next, which then waits no more; None when none waits."""

    def discard(self, task_id: str) -> None:
        """The task waits no more."""

    def __len__(self) -> int: ...

    def waiting(self) -> list[Waiting]:
        """All that wait, in no order: what a switch to another strategy moves over."""


#: The smaller goes first.
SortKey = Callable[[Waiting], tuple[int, ...]]


class KeyOrder:
    """A heap over a key that does not change while a task waits: O(log n) a step, whatever the queue's length.

    A discarded task leaves its heap entry behind, which `pop` skips; the heap is rebuilt when most entries are such.
    """

    def __init__(self, key: SortKey) -> None:
        self._key = key
        self._heap: list[tuple[tuple[int, ...], int, Waiting]] = []
        self._live: dict[str, int] = {}
        self._pushed = 0

    def push(self, task: Waiting) -> None:
        """See `Strategy.push`."""
        self._pushed += 1
        self._live[task.task_id] = self._pushed
        heapq.heappush(self._heap, (self._key(task), self._pushed, task))
        self._shrink()

    def pop(self, now_ms: int) -> Waiting | None:
        """See `Strategy.pop`."""
        while self._heap:
            _, pushed, task = heapq.heappop(self._heap)
            if self._live.get(task.task_id) == pushed:
                del self._live[task.task_id]
                return task
        return None

    def discard(self, task_id: str) -> None:
        """See `Strategy.discard`."""
        self._live.pop(task_id, None)
        self._shrink()

    def __len__(self) -> int:
        return len(self._live)

    def waiting(self) -> list[Waiting]:
        """See `Strategy.waiting`."""
        return [task for _, pushed, task in self._heap if self._live.get(task.task_id) == pushed]

    def _shrink(self) -> None:
        if len(self._heap) > 2 * len(self._live) + 64:
            self._heap = [entry for entry in self._heap if self._live.get(entry[2].task_id) == entry[1]]
            heapq.heapify(self._heap)


def fifo() -> Strategy:
    """First accepted, first started."""
    return KeyOrder(lambda task: (task.accepted_ms, *task.tie))


def priority() -> Strategy:
    """Higher priority first; first accepted, first started within one."""
    return KeyOrder(lambda task: (-task.priority, task.accepted_ms, *task.tie))


STRATEGIES: dict[str, Callable[[], Strategy]] = {"fifo": fifo, "priority": priority}
