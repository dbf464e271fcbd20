"""How full each class's queue is, to a door that has just added to it: no I/O.

The read model says how much waits, and which offsets it has seen. What this process has appended beyond those offsets,
and what it is appending now, comes on top: so the bound holds however far the projector lags.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from streams.log import Appended
from streams.ports import QueueSnapshot


class Place:
    """One place in a class's queue, while its task is being appended."""

    def __init__(self) -> None:
        self.appended: Appended | None = None

    def taken(self, appended: Appended) -> None:
        """The log has acknowledged the task."""
        self.appended = appended


class Admission:
    """Depth of each class's queue, and places in it."""

    def __init__(self, depth_max: int) -> None:
        self._depth_max = depth_max
        self._snapshot = QueueSnapshot()
        self._appending: Counter[str] = Counter()
        #: Offsets beyond the projector's, by class, topic and partition; heaps, since appends end in any order.
        self._unseen: dict[str, dict[tuple[str, int], list[int]]] = defaultdict(lambda: defaultdict(list))

    def observe(self, snapshot: QueueSnapshot) -> None:
        """Take over what the read model says; what it has seen is no longer counted here."""
        self._snapshot = snapshot
        for partitions in self._unseen.values():
            for partition, offsets in list(partitions.items()):
                projected = snapshot.projected.get(partition, 0)
                while offsets and offsets[0] < projected:
                    heapq.heappop(offsets)
                if not offsets:
                    del partitions[partition]

    def depth(self, resource_class: str) -> int:
        """Tasks of the class that wait, as far as anyone can know here."""
        waiting = self._snapshot.waiting.get(resource_class, 0)
        return waiting + self._appending[resource_class] + self.unseen(resource_class)

    def unseen(self, resource_class: str) -> int:
        """Tasks that this process has appended and the projector has not yet shown."""
        return sum(map(len, self._unseen[resource_class].values()))

    def room(self, resource_class: str) -> int:
        """How many more tasks the queue takes."""
        return max(0, self._depth_max - self.depth(resource_class))

    @contextmanager
    def place(self, resource_class: str, count: int = 1) -> Iterator[Place]:
        """Places in the queue while the block appends; callers look for `room` first, without awaiting between."""
        place = Place()
        self._appending[resource_class] += count
        try:
            yield place
        finally:
            self._appending[resource_class] -= count
            if place.appended is not None:
                self.appended(resource_class, place.appended)

    def appended(self, resource_class: str, appended: Appended) -> None:
        """Count a task until the projector shows it."""
        partition = (appended.topic, appended.partition)
        if appended.offset >= self._snapshot.projected.get(partition, 0):
            heapq.heappush(self._unseen[resource_class][partition], appended.offset)
