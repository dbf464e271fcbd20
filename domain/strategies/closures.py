"""Which lanes are closed, and by what.

What refuses the first task of one lane refuses those of all lanes that it applies to, for as long as it refuses at all.
So lanes that were refused by the same are a group, which is closed and opened as a whole, at a cost that does not
depend on how many they are.

A group lies within a wider one where the wider one's refuser applies to all its lanes. Otherwise two limits that refuse
by turns, of a model and of its class, would hand a thousand lanes to one another one by one.
"""

from __future__ import annotations

from collections.abc import Iterator

from domain.strategies.strategy import Lane, Refuser


class Group:
    """Lanes that one refuser refused last, and groups of which it refuses all lanes."""

    __slots__ = ("__weakref__", "is_open", "parent", "refuser", "size")

    def __init__(self, refuser: Refuser) -> None:
        self.refuser = refuser
        #: The group that it lies within; None where nothing wider has refused its lanes.
        self.parent: Group | None = None
        #: Whether the refuser may have stopped to refuse.
        self.is_open = True
        #: Lanes and groups right within it.
        self.size = 0

    def path(self) -> Iterator[Group]:
        """The group and those that it lies within, from the inside to the outside."""
        group: Group | None = self
        while group is not None:
            yield group
            group = group.parent

    @property
    def hidden(self) -> bool:
        """Whether its lanes are closed."""
        group: Group | None = self
        while group is not None:
            if not group.is_open:
                return True
            group = group.parent
        return False


class Closures:
    """The groups. A lane that was never refused is in none, and is open; so is one that is forgotten."""

    def __init__(self) -> None:
        self._by_refuser: dict[Refuser, Group] = {}
        #: What each lane is right within; what is in none is missing.
        self.groups: dict[Lane, Group] = {}
        #: Grows with each change.
        self.changes = 0

    def group(self, refuser: Refuser) -> Group | None:
        """What the refuser keeps closed, or did; None where that is nothing."""
        return self._by_refuser.get(refuser)

    def close(self, refuser: Refuser) -> tuple[Group, bool]:
        """The refuser refuses: its group, which is closed from now on, and whether it was open, or is a new one."""
        group = self._by_refuser.get(refuser)
        if group is None:
            group = self._by_refuser[refuser] = Group(refuser)
        was_open, group.is_open = group.is_open, False
        self.changes += was_open
        return group, was_open

    def place(self, lane: Lane, group: Group) -> tuple[Lane | Group, Group | None] | None:
        """The group's refuser refused the lane, which is within the group from now on.

        Gives what has moved, the lane or a group that it is in, and what that was right within before; None where the
        lane was in the group already.
        """
        inner = self.groups.get(lane)
        path = [] if inner is None else list(inner.path())
        if group in path:
            return None
        for outer in reversed(path):
            if group.refuser.includes(outer.refuser):
                before, outer.parent = outer.parent, group
                moved: Lane | Group = outer
                break
        else:
            before, self.groups[lane] = inner, group
            moved = lane
        self.changes += 1
        group.size += 1
        self._left(before)
        return moved, before

    def open(self, refuser: Refuser) -> Group | None:
        """The refuser may have stopped to refuse: its group, which was closed until now; None where none was."""
        group = self._by_refuser.get(refuser)
        if group is None or group.is_open:
            return None
        group.is_open = True
        self.changes += 1
        return group

    def forget(self, lane: Lane) -> None:
        """Nothing waits in the lane any more."""
        if (group := self.groups.pop(lane, None)) is not None:
            self._left(group)

    def _left(self, group: Group | None) -> None:
        """Something is right within the group no more; a group of nothing is forgotten."""
        while group is not None:
            group.size -= 1
            if group.size:
                return
            del self._by_refuser[group.refuser]
            group = group.parent
