"""The data structure under all strategies: a heap of tasks for each lane, and one of the first tasks of open lanes.

Every step costs O(log n). What is removed leaves its heap entry behind; the entry is skipped when it comes up, and the
heap is rebuilt when most entries are such.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection
from typing import Any, Generic, Protocol, TypeVar

from domain.strategies.strategy import Lane, Usage, Waiting

#: The smaller goes first.
Key = tuple[float, ...]
SortKey = Callable[[Waiting], Key]
#: The parts of a key, a serial number that no other entry has, and the task, which is therefore never compared.
Entry = tuple[Any, ...]

#: Entries of removed tasks that a heap may hold beside as many as it has live ones.
STALE_MAX = 64

T = TypeVar("T")


class Order(Protocol):
    """An order over the waiting tasks of the lanes that are open. Which ones are closed, its maker says."""

    def add(self, task: Waiting) -> None:
        """The task, which was not in it, waits."""

    def remove(self, task: Waiting) -> None:
        """The task, which was in it, waits no more."""

    def refresh(self, lane: Lane) -> None:
        """The lane was closed or opened."""

    def choose(self, now_ms: int) -> Waiting | None:
        """The task to start next, which stays in; None when no lane with tasks is open."""

    def by_age(self, task: Waiting) -> bool:
        """Whether the chosen task is chosen only because it has waited for longest."""

    def started(self, task: Waiting) -> None:
        """The chosen task starts; it is still in."""

    def ended(self, task: Waiting, usage: Usage) -> None:
        """An attempt of the task is over."""


class Heads(Generic[T]):
    """Items by key, where an item's key may change: the least one is at the top."""

    def __init__(self) -> None:
        self._heap: list[tuple[Key | Entry, int, T]] = []
        self._current: dict[T, tuple[Key | Entry, int]] = {}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._current)

    def __contains__(self, item: T) -> bool:
        return item in self._current

    def set(self, item: T, key: Key | Entry) -> None:
        """The item has this key from now on. Equal keys: the item that has it for longest is first."""
        current = self._current.get(item)
        if current is not None and (current[0] is key or current[0] == key):
            return
        self._serial += 1
        self._current[item] = (key, self._serial)
        heapq.heappush(self._heap, (key, self._serial, item))
        if len(self._heap) > 2 * len(self._current) + STALE_MAX:
            self._heap = [(key, serial, item) for item, (key, serial) in self._current.items()]
            heapq.heapify(self._heap)

    def remove(self, item: T) -> None:
        """The item is in no more; nothing happens where it was not."""
        self._current.pop(item, None)

    def top(self) -> T | None:
        """The item with the least key."""
        while self._heap:
            key, serial, item = self._heap[0]
            if self._current.get(item) == (key, serial):
                return item
            heapq.heappop(self._heap)
        return None

    def key(self, item: T) -> Key | Entry:
        """The item's key; KeyError where it is not in."""
        return self._current[item][0]


class TaskHeap:
    """Tasks by a key that does not change while they wait.

    What comes in the order of its key, as most does, is kept in a line without any heap: it goes in and out in O(1).
    """

    __slots__ = ("_heap", "_line", "_live")

    def __init__(self) -> None:
        self._line: deque[Entry] = deque()
        self._heap: list[Entry] = []
        self._live: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._live)

    def push(self, key: Key, serial: int, task: Waiting) -> None:
        """The task is in; `serial` is larger than in each call before, and decides between equal keys."""
        self._live[task.task_id] = serial
        entry = (*key, serial, task)
        if not self._line or self._line[-1] < entry:
            self._line.append(entry)
        else:
            heapq.heappush(self._heap, entry)

    def remove(self, task_id: str) -> None:
        """The task is in no more; nothing happens where it was not."""
        live = self._live
        live.pop(task_id, None)
        if len(self._heap) + len(self._line) > 2 * len(live) + STALE_MAX:
            self._heap = [entry for entry in self._heap if live.get(entry[-1].task_id) == entry[-2]]
            heapq.heapify(self._heap)
            self._line = deque(entry for entry in self._line if live.get(entry[-1].task_id) == entry[-2])

    def top(self) -> Entry | None:
        """The entry of the task with the least key: the key's parts, and at the end the task."""
        live, line, heap = self._live, self._line, self._heap
        while line and live.get(line[0][-1].task_id) != line[0][-2]:
            line.popleft()
        while heap and live.get(heap[0][-1].task_id) != heap[0][-2]:
            heapq.heappop(heap)
        if line and heap:
            return min(line[0], heap[0])
        return line[0] if line else heap[0] if heap else None


class LaneOrder:
    """The least key first, among the lanes that are not in `closed`. See `Order`."""

    def __init__(self, key: SortKey, closed: Collection[Lane] = frozenset()) -> None:
        self._key, self._closed = key, closed
        self._lanes: dict[Lane, TaskHeap] = {}
        self._heads: Heads[Lane] = Heads()
        self._serial = 0

    def __len__(self) -> int:
        """Lanes with waiting tasks, closed ones included."""
        return len(self._lanes)

    def add(self, task: Waiting) -> None:
        """See `Order.add`."""
        self._serial += 1
        lane = self._lanes.get(task.lane)
        if lane is None:
            lane = self._lanes[task.lane] = TaskHeap()
        lane.push(self._key(task), self._serial, task)
        self._set_head(task.lane, lane)

    def remove(self, task: Waiting) -> None:
        """See `Order.remove`."""
        lane = self._lanes[task.lane]
        lane.remove(task.task_id)
        if len(lane):
            self._set_head(task.lane, lane)
        else:
            del self._lanes[task.lane]
            self._heads.remove(task.lane)

    def refresh(self, lane: Lane) -> None:
        """See `Order.refresh`."""
        if (tasks := self._lanes.get(lane)) is not None:
            self._set_head(lane, tasks)

    def choose(self, now_ms: int) -> Waiting | None:
        """See `Order.choose`."""
        lane = self._heads.top()
        entry = None if lane is None else self._lanes[lane].top()
        return None if entry is None else entry[-1]

    def by_age(self, task: Waiting) -> bool:
        """See `Order.by_age`."""
        return False

    def started(self, task: Waiting) -> None:
        """See `Order.started`: nothing to learn from it."""

    def ended(self, task: Waiting, usage: Usage) -> None:
        """See `Order.ended`: nothing to learn from it."""

    def _set_head(self, lane: Lane, tasks: TaskHeap) -> None:
        top = None if lane in self._closed else tasks.top()
        if top is None:
            self._heads.remove(lane)
        else:
            self._heads.set(lane, top)
