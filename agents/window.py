"""The tasks that a worker holds: what waits, in the strategy's order, and what may not start yet.

Bounded for each band and shard, in tasks and in bytes: at its bound a band is reported full, so that the log keeps the
rest, and the other bands go on.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from agents.strategies import Strategy, Waiting
from domain.task import TaskState
from schemas.events import TaskSubmitted
from streams.shard_stream import ShardRecord

#: A band takes records again when it has drained to this share of its bound.
DRAINED_SHARE = 0.5
#: Records of one band and shard held in memory, in bytes: large tasks reach it before the number of tasks bounds them.
BAND_BYTES_MAX = 32 * 1024 * 1024

Band = tuple[str, int]


class Stop(StrEnum):
    """Why a running attempt was told to stop."""

    CANCEL = "cancel"
    SHUTDOWN = "shutdown"


@dataclass(slots=True, eq=False)
class Entry:
    """A task that this worker owns, from its record to its terminal fact."""

    submission: TaskSubmitted
    state: TaskState
    #: The record to acknowledge when the task has ended; replaced when the log hands it out again.
    record: ShardRecord
    #: Runs the handler; None while no attempt is active.
    execution: asyncio.Task[Any] | None = None
    stop: Stop | None = None
    #: Commits that the log has not acknowledged yet.
    unwritten: int = 0
    #: Another worker owns it now: nothing more may be written about it.
    lost: bool = False
    #: The band that it is counted against because it waits, and with how many bytes.
    counted: tuple[Band, int] | None = None
    #: Loop time at which it began to wait here.
    waiting_since: float = field(default=0.0)
    #: Broker time in ms, shard and offset of the record that brought it: its place in line, wherever it is moved to.
    place: tuple[int, int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.place = (self.record.timestamp_ms, self.record.shard, self.record.offset)

    @property
    def task_id(self) -> str:
        """Whose entry it is."""
        return self.state.task_id

    @property
    def band(self) -> Band:
        """Topic and shard that its record lies in."""
        return (self.record.topic, self.record.shard)

    @property
    def suspect(self) -> bool:
        """An attempt of it died with its worker, so it may be what kills workers."""
        return self.state.attempts_lost > 0


class Window:
    """Waiting entries. One suspect runs at a time, so that a killer cannot take another one along twice."""

    def __init__(
        self,
        strategy: Strategy,
        size: int,
        *,
        on_full: Callable[[str, int], None],
        on_drained: Callable[[str, int], None],
        bytes_max: int = BAND_BYTES_MAX,
    ) -> None:
        self._strategy = strategy
        self._size, self._bytes_max = size, bytes_max
        self._on_full, self._on_drained = on_full, on_drained
        self._waiting: dict[str, Entry] = {}
        #: Suspects whose turn came while another one ran.
        self._set_aside: list[str] = []
        self._suspect_active: Entry | None = None
        self._delayed: list[tuple[datetime, str]] = []
        self._unnoticed: deque[tuple[float, str]] = deque()
        self._counts: Counter[Band] = Counter()
        self._bytes: Counter[Band] = Counter()
        self._full: set[Band] = set()

    def __len__(self) -> int:
        """Entries that wait, those that are not due yet included."""
        return len(self._waiting)

    def add(self, entry: Entry, now: float) -> None:
        """The entry waits for its turn, or for its due time."""
        self._waiting[entry.task_id] = entry
        self._count(entry)
        entry.waiting_since = now
        if entry.state.due_at is not None:
            heapq.heappush(self._delayed, (entry.state.due_at, entry.task_id))
        else:
            self._enqueue(entry)

    def wake_due(self, at: datetime) -> None:
        """Entries whose due time has come wait for their turn."""
        while self._delayed and self._delayed[0][0] <= at:
            due_at, task_id = heapq.heappop(self._delayed)
            entry = self._waiting.get(task_id)
            if entry is not None and entry.state.due_at == due_at:
                self._enqueue(entry)

    def next_due_at(self) -> datetime | None:
        """When `wake_due` has work again."""
        return self._delayed[0][0] if self._delayed else None

    def take(self, now_ms: int) -> Entry | None:
        """The entry to start next; it waits no more."""
        while (waiting := self._strategy.pop(now_ms)) is not None:
            entry = self._waiting.get(waiting.task_id)
            if entry is None:
                continue
            if entry.suspect:
                if self._suspect_active is not None:
                    self._set_aside.append(entry.task_id)
                    continue
                self._suspect_active = entry
            return self._taken(entry)
        return None

    def ended(self, entry: Entry) -> None:
        """An attempt of the entry is over; another suspect may start."""
        if self._suspect_active is not entry:
            return
        self._suspect_active = None
        for task_id in self._set_aside:
            if (waiting := self._waiting.get(task_id)) is not None:
                self._strategy.push(waiting_view(waiting))
        self._set_aside.clear()

    def discard(self, entry: Entry) -> None:
        """The entry waits no more."""
        if self._waiting.get(entry.task_id) is entry:
            self._strategy.discard(entry.task_id)
            self._taken(entry)

    def moved(self, entry: Entry, record: ShardRecord) -> None:
        """The entry's task now lies in another record, perhaps of another band."""
        counted = entry.counted is not None
        self._uncount(entry)
        entry.record = record
        if counted:
            self._count(entry)

    def full(self, band: Band) -> bool:
        """Whether the band is at its bound."""
        return band in self._full

    def unnoticed(self, now: float, after_seconds: float, count_max: int) -> list[Entry]:
        """Entries that have waited for so long without anybody saying so; each is given once a wait."""
        found: list[Entry] = []
        while len(found) < count_max and self._unnoticed and self._unnoticed[0][0] + after_seconds <= now:
            since, task_id = self._unnoticed.popleft()
            if self._still_waits(since, task_id):
                found.append(self._waiting[task_id])
        return found

    def _enqueue(self, entry: Entry) -> None:
        self._strategy.push(waiting_view(entry))
        while self._unnoticed and not self._still_waits(*self._unnoticed[0]):
            self._unnoticed.popleft()
        self._unnoticed.append((entry.waiting_since, entry.task_id))

    def _still_waits(self, since: float, task_id: str) -> bool:
        entry = self._waiting.get(task_id)
        return entry is not None and entry.waiting_since == since

    def _taken(self, entry: Entry) -> Entry:
        del self._waiting[entry.task_id]
        self._uncount(entry)
        return entry

    def _count(self, entry: Entry) -> None:
        band, size = entry.counted = (entry.band, len(entry.record.value or b""))
        self._counts[band] += 1
        self._bytes[band] += size
        if self._counts[band] >= self._size or self._bytes[band] >= self._bytes_max:
            # Said again for each record beyond the bound: a rebalance makes the stream forget it.
            self._full.add(band)
            self._on_full(*band)

    def _uncount(self, entry: Entry) -> None:
        counted, entry.counted = entry.counted, None
        if counted is None:
            return
        band, size = counted
        self._counts[band] -= 1
        self._bytes[band] -= size
        if band in self._full and self._has_drained(band):
            self._full.discard(band)
            self._on_drained(*band)

    def _has_drained(self, band: Band) -> bool:
        return self._counts[band] <= self._size * DRAINED_SHARE and self._bytes[band] <= self._bytes_max * DRAINED_SHARE


def waiting_view(entry: Entry) -> Waiting:
    """What strategies may know of an entry."""
    accepted_ms, shard, offset = entry.place
    return Waiting(
        task_id=entry.task_id,
        priority=entry.submission.priority,
        accepted_ms=accepted_ms,
        tie=(shard, offset),
    )
