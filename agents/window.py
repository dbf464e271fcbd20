"""The tasks that a worker holds: what waits, in the strategy's order, and what may not start yet."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable
from datetime import datetime

from agents.bands import BandBounds
from agents.entries import Band, Entry
from agents.wait_accounts import WaitAccounts
from domain.states import TaskStatus
from domain.strategies.strategy import Lane, Refuser, Strategy, Usage, Waiting
from streams.shard_stream import ShardRecord

#: Deadlines of tasks that wait no more, which are remembered beside as many as are still ahead.
STALE_MAX = 64

#: What a strategy may know of an entry, at a time in milliseconds since 1970.
View = Callable[[Entry, int], Waiting]


class Window:
    """Waiting entries. Times are milliseconds since 1970 unless they say otherwise."""

    def __init__(self, strategy: Strategy, bounds: BandBounds, view: View, accounts: WaitAccounts) -> None:
        self._strategy, self._bounds, self._view, self._accounts = strategy, bounds, view, accounts
        self._waiting: dict[str, Entry] = {}
        self._delayed: list[tuple[datetime, str]] = []
        self._deadlines: list[tuple[datetime, str]] = []
        self._unnoticed: deque[tuple[float, str]] = deque()

    def __len__(self) -> int:
        """Entries that wait, those that are not due yet included."""
        return len(self._waiting)

    def entries(self) -> Iterable[Entry]:
        """All that wait, in no order."""
        return self._waiting.values()

    def lanes(self) -> Counter[Lane]:
        """How many wait for their turn in each lane."""
        return self._accounts.ledger.waiting()

    def get(self, task_id: str) -> Entry | None:
        """The entry of a task that waits here."""
        return self._waiting.get(task_id)

    @property
    def strategy(self) -> Strategy:
        """What orders the starts at present."""
        return self._strategy

    def add(self, entry: Entry, now: float, now_ms: int) -> None:
        """The entry waits for its turn, or for its due time. `now` is loop time."""
        self._waiting[entry.task_id] = entry
        self._bounds.count(entry, now_ms)
        entry.waiting_since = now
        if (deadline_at := entry.submission.deadline_at) is not None:
            self._expect(deadline_at, entry.task_id)
        if entry.state.due_at is not None:
            heapq.heappush(self._delayed, (entry.state.due_at, entry.task_id))
        else:
            self._enqueue(entry, now_ms)

    def wake_due(self, at: datetime) -> None:
        """Entries whose due time has come wait for their turn."""
        while self._delayed and self._delayed[0][0] <= at:
            due_at, task_id = heapq.heappop(self._delayed)
            entry = self._waiting.get(task_id)
            if entry is not None and entry.state.due_at == due_at:
                if entry.state.status is not TaskStatus.QUEUED:
                    # What was put off keeps its place in line.
                    entry.queued_ms = int(due_at.timestamp() * 1000)
                self._accounts.due(entry, at)
                self._enqueue(entry, int(at.timestamp() * 1000))

    def overdue(self, at: datetime) -> list[Entry]:
        """Entries whose deadline has passed before they ever started, earliest first; they wait on until discarded."""
        found = []
        while self._deadlines and self._deadlines[0][0] <= at:
            deadline_at, task_id = heapq.heappop(self._deadlines)
            entry = self._waiting.get(task_id)
            if entry is None or entry.submission.deadline_at != deadline_at:
                continue
            if not entry.state.begun:
                found.append(entry)
            elif entry.mark is not None:
                # It began in time and was interrupted: no strategy may count it as expired.
                self.changed(entry, int(at.timestamp() * 1000))
        return found

    def next_at(self) -> datetime | None:
        """When `wake_due` or `overdue` has work again."""
        return min((heap[0][0] for heap in (self._delayed, self._deadlines) if heap), default=None)

    def take(self, now_ms: int, refuser: Callable[[Waiting], Refuser | None]) -> Entry | None:
        """The entry to start next; it waits no more. Its mark is the caller's to end."""
        while (waiting := self._strategy.pop(now_ms, refuser)) is not None:
            if (entry := self._waiting.get(waiting.task_id)) is not None:
                return self._taken(entry, now_ms)
        return None

    def reopen(self, refuser: Refuser) -> None:
        """See `Strategy.reopen`."""
        self._strategy.reopen(refuser)

    def ended(self, entry: Entry, usage: Usage) -> None:
        """An attempt of the entry is over."""
        if entry.view is not None:
            self._strategy.ended(entry.view, usage)

    def changed(self, entry: Entry, now_ms: int) -> None:
        """The strategy must see the entry anew; nothing happens where it does not wait for its turn."""
        if self._waiting.get(entry.task_id) is entry and entry.mark is not None:
            entry.view = self._view(entry, now_ms)
            if entry.view.lane != entry.mark.lane:
                self._accounts.in_lane(entry, entry.view.lane, now_ms)
            self._strategy.push(entry.view, now_ms)

    def switch(self, strategy: Strategy, now_ms: int) -> None:
        """Order by another strategy from now on: all that wait for their turn move over, every lane open."""
        self._strategy = strategy
        for entry in self._waiting.values():
            self.changed(entry, now_ms)

    def discard(self, entry: Entry, now_ms: int) -> None:
        """The entry waits no more."""
        if self._waiting.get(entry.task_id) is entry:
            self._strategy.discard(entry.task_id)
            self._taken(entry, now_ms)
            self._accounts.left(entry)

    def moved(self, entry: Entry, record: ShardRecord, now_ms: int) -> None:
        """The entry's task now lies in another record, perhaps of another band."""
        counted = entry.counted is not None
        self._bounds.uncount(entry, now_ms)
        entry.record = record
        if counted:
            self._bounds.count(entry, now_ms)

    def full(self, band: Band) -> bool:
        """Whether the band is at its bound."""
        return self._bounds.full(band)

    def was_full_since(self, band: Band, since_ms: float) -> bool:
        """See `BandBounds.was_full_since`."""
        return self._bounds.was_full_since(band, since_ms)

    def unnoticed(self, now: float, after_seconds: float, count_max: int) -> list[Entry]:
        """Entries that have waited for so long without anybody saying so; each is given once a wait."""
        found: list[Entry] = []
        while len(found) < count_max and self._unnoticed and self._unnoticed[0][0] + after_seconds <= now:
            since, task_id = self._unnoticed.popleft()
            if self._still_waits(since, task_id):
                found.append(self._waiting[task_id])
        return found

    def _expect(self, deadline_at: datetime, task_id: str) -> None:
        heapq.heappush(self._deadlines, (deadline_at, task_id))
        if len(self._deadlines) > 2 * len(self._waiting) + STALE_MAX:
            deadlines = ((entry.submission.deadline_at, entry.task_id) for entry in self._waiting.values())
            self._deadlines = [(at, task_id) for at, task_id in deadlines if at is not None]
            heapq.heapify(self._deadlines)

    def _enqueue(self, entry: Entry, now_ms: int) -> None:
        entry.view = self._view(entry, now_ms)
        self._accounts.in_lane(entry, entry.view.lane, now_ms)
        self._strategy.push(entry.view, now_ms)
        while self._unnoticed and not self._still_waits(*self._unnoticed[0]):
            self._unnoticed.popleft()
        self._unnoticed.append((entry.waiting_since, entry.task_id))

    def _still_waits(self, since: float, task_id: str) -> bool:
        entry = self._waiting.get(task_id)
        return entry is not None and entry.waiting_since == since

    def _taken(self, entry: Entry, now_ms: int) -> Entry:
        del self._waiting[entry.task_id]
        self._bounds.uncount(entry, now_ms)
        return entry
