"""The data structure under all strategies: a heap of tasks for each lane, and one of the first tasks of the lanes.

Every step costs O(log n). What is removed leaves its heap entry behind; the entry is skipped when it comes up, and the
heap is rebuilt when most entries are such.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from domain.strategies.closures import Closures, Group
from domain.strategies.heads import STALE_MAX, GroupedHeads, HeadsByGroup
from domain.strategies.strategy import Lane, Usage, Waiting

#: The smaller goes first.
Key = tuple[float, ...]
SortKey = Callable[[Waiting], Key]
#: The parts of a key, a serial number that no other entry has, and the task, which is therefore never compared.
Entry = tuple[Any, ...]


class Order(Protocol):
    """An order over the waiting tasks of the lanes that are open; which ones are, it reads from `Closures`."""

    def add(self, task: Waiting) -> None:
        """The task, which was not in it, waits."""

    def remove(self, task: Waiting) -> None:
        """The task, which was in it, waits no more."""

    def moved(self, item: Lane | Group, before: Group | None) -> None:
        """The lane, or the group, lies within another group than `before`."""

    def turned(self, group: Group) -> None:
        """The group was closed or opened."""

    def choose(self, now_ms: int) -> Waiting | None:
        """The task to start next, which stays in; None when no lane with tasks is open."""

    def by_age(self, task: Waiting) -> bool:
        """Whether the chosen task is chosen only because it has waited for longest."""

    def started(self, task: Waiting) -> None:
        """The chosen task starts; it is still in."""

    def ended(self, task: Waiting, usage: Usage) -> None:
        """An attempt of the task is over."""


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
    """The least key first, among the lanes that are open. See `Order`."""

    def __init__(
        self, key: SortKey, closures: Closures, heads: GroupedHeads[Lane] | HeadsByGroup[Lane] | None = None
    ) -> None:
        self._key = key
        self._lanes: dict[Lane, TaskHeap] = {}
        self._heads = GroupedHeads[Lane]() if heads is None else heads
        # Most lanes lie in no group, and most steps are theirs.
        self._groups, self._free = closures.groups, self._heads.free
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
            self._heads.remove(task.lane, self._groups.get(task.lane))

    def moved(self, item: Lane | Group, before: Group | None) -> None:
        """See `Order.moved`."""
        if isinstance(item, Group):
            self._heads.group_moved(item, before)
        elif (tasks := self._lanes.get(item)) is not None:
            self._heads.remove(item, before)
            self._set_head(item, tasks)

    def turned(self, group: Group) -> None:
        """See `Order.turned`."""
        self._heads.turned(group)

    def reaches(self, group: Group) -> bool:
        """Whether any of its lanes lie in the group."""
        return group in self._heads

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
        if (top := tasks.top()) is None:
            return
        if self._groups and (group := self._groups.get(lane)) is not None:
            self._heads.set(lane, group, top)
        else:
            self._free.set(lane, top)


class LaneOrderByGroup(LaneOrder):
    """The same for a part of the lanes, which lie in few groups: no step costs anything when a group is closed."""

    def __init__(self, key: SortKey, closures: Closures) -> None:
        self._by_group = HeadsByGroup[Lane](closures)
        super().__init__(key, closures, self._by_group)

    def groups(self) -> Iterable[Group]:
        """What its lanes lie in."""
        return self._by_group.groups()

    def waits_in(self, group: Group | None) -> bool:
        """Whether anything waits in lanes of the group."""
        return len(self._by_group.free) > 0 if group is None else group in self._by_group
