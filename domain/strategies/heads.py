"""Who is first: among items by key, and among items that lie in groups of which some are closed. O(log n) a step."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from domain.strategies.closures import Closures, Group

#: The smaller goes first.
Key = tuple[Any, ...]

#: Entries of removed items that a heap may hold beside as many as it has live ones.
STALE_MAX = 64

T = TypeVar("T")


class Heads(Generic[T]):
    """Items by key, where an item's key may change: the least one is at the top.

    What is removed leaves its heap entry behind; the entry is skipped when it comes up, and the heap is rebuilt when
    most entries are such.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[Key, int, T]] = []
        self._current: dict[T, tuple[Key, int]] = {}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._current)

    def __contains__(self, item: T) -> bool:
        return item in self._current

    def set(self, item: T, key: Key) -> None:
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

    def key(self, item: T) -> Key:
        """The item's key; KeyError where it is not in."""
        return self._current[item][0]


class HeadsByGroup(Generic[T]):
    """Items by key, each group for itself: for few groups, of which it looks up which ones are closed."""

    def __init__(self, closures: Closures) -> None:
        self._closures = closures
        #: Items in no group.
        self.free: Heads[T] = Heads()
        self._groups: dict[Group, Heads[T]] = {}
        #: Those that are open, as of so many changes of the closures.
        self._open: list[Heads[T]] = []
        self._as_of = -1

    def set(self, item: T, group: Group | None, key: Key) -> None:
        """The item, which lies in the group, has this key from now on."""
        heads = self.free if group is None else self._groups.get(group)
        if heads is None:
            assert group is not None
            heads = self._groups[group] = Heads()
            self._as_of = -1
        heads.set(item, key)

    def remove(self, item: T, group: Group | None) -> None:
        """The item is not in the group any more; nothing happens where it was not."""
        if group is None:
            self.free.remove(item)
        elif (heads := self._groups.get(group)) is not None:
            heads.remove(item)
            if not len(heads):
                del self._groups[group]
                self._as_of = -1

    def __contains__(self, group: Group) -> bool:
        """Whether anything lies right within the group."""
        return group in self._groups

    def groups(self) -> Iterable[Group]:
        """Those that items lie in."""
        return self._groups.keys()

    def top(self) -> T | None:
        """The least item of all groups that are not closed."""
        if self._as_of != self._closures.changes:
            self._as_of = self._closures.changes
            self._open = [heads for group, heads in self._groups.items() if not group.hidden]
        free = self.free.top()
        if not self._open:
            return free
        found = [(heads.key(item), item) for heads in self._open if (item := heads.top()) is not None]
        if free is not None:
            found.append((self.free.key(free), free))
        return min(found, key=_key)[1] if found else None

    def group_moved(self, group: Group, before: Group | None) -> None:
        """The group lies within another one: see `GroupedHeads`. Nothing depends on it here."""

    def turned(self, group: Group) -> None:
        """The group was closed or opened: see `GroupedHeads`. Nothing depends on it here."""


class GroupedHeads(Generic[T]):
    """Items by key, where a group takes part in what it lies within by its own least item, while it is open.

    So to close or to open a group of any size costs as much as to change the key of one item. An item may lie in
    several groups at a time.
    """

    def __init__(self, make: Callable[[], Heads[T | Group]] = Heads) -> None:
        self._make = make
        #: Items in no group, and groups that lie in none.
        self.free = make()
        self._inner: dict[Group, Heads[T | Group]] = {}

    def set(self, item: T, group: Group | None, key: Key) -> None:
        """The item, which lies in the group, has this key from now on."""
        if group is None:
            self.free.set(item, key)
            return
        heads = self._inner.get(group)
        if heads is None:
            heads = self._inner[group] = self._make()
        heads.set(item, key)
        if group.is_open:
            self.turned(group)

    def remove(self, item: T, group: Group | None) -> None:
        """The item is not in the group any more; nothing happens where it was not."""
        if group is None:
            self.free.remove(item)
        elif (heads := self._inner.get(group)) is not None:
            heads.remove(item)
            self.turned(group)

    def group_moved(self, group: Group, before: Group | None) -> None:
        """The group, which was right within `before`, lies within another one."""
        if (outer := self.free if before is None else self._inner.get(before)) is not None:
            outer.remove(group)
            if before is not None:
                self.turned(before)
        self.turned(group)

    def turned(self, group: Group) -> None:
        """The group was closed or opened, or its least item is another one."""
        inner: Group | None = group
        while inner is not None:
            heads, parent = self._inner.get(inner), inner.parent
            top = heads.top() if heads is not None else None
            if heads is not None and not len(heads):
                del self._inner[inner]
            if heads is not None and top is not None and inner.is_open:
                self._outer(parent).set(inner, heads.key(top))
            elif (outer := self.free if parent is None else self._inner.get(parent)) is not None:
                outer.remove(inner)
            inner = parent

    def top(self) -> T | None:
        """The least item of all that no closed group hides."""
        item = self.free.top()
        while isinstance(item, Group):
            item = self._inner[item].top()
        return item

    def __contains__(self, group: Group) -> bool:
        """Whether anything lies in the group."""
        return group in self._inner

    def _outer(self, parent: Group | None) -> Heads[T | Group]:
        if parent is None:
            return self.free
        heads = self._inner.get(parent)
        if heads is None:
            heads = self._inner[parent] = self._make()
        return heads


def _key(found: tuple[Key, object]) -> Key:
    return found[0]
