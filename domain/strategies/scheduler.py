"""The frame that all strategies share: what waits, which lanes are closed, and what has expired.

What differs is the order of starts and, for two of them, who is asked to make room.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable

from domain.strategies.closures import Closures, Group
from domain.strategies.estimates import Estimates
from domain.strategies.heads import STALE_MAX
from domain.strategies.lane_order import Order
from domain.strategies.strategy import Lane, Refuser, Running, Usage, WaitBound, Waiting
from domain.strategies.yielding import NobodyAsks

Bound = Callable[[int], WaitBound | None]


class Scheduler:
    """See `Strategy`. `closures` is shared with the order, which leaves the lanes of closed groups out."""

    def __init__(
        self, order: Order, closures: Closures, learned: Estimates, bound: Bound, asks: NobodyAsks | None = None
    ) -> None:
        self._order, self._closures, self._learned, self._bound = order, closures, learned, bound
        self._asks = asks or NobodyAsks()
        self._demand = self._asks.demand
        self._tasks: dict[str, Waiting] = {}
        #: Tasks of each lane; a lane without any is forgotten, and is open when it comes again.
        self._lane_sizes: Counter[Lane] = Counter()
        self._deadlines: list[tuple[int, str]] = []
        #: Past their deadline, and not collected yet.
        self._expired: dict[str, Waiting] = {}

    def push(self, task: Waiting, now_ms: int) -> None:
        """See `Strategy.push`."""
        self.discard(task.task_id)
        self._asks.ended(task.task_id)
        if task.deadline_ms is not None:
            heapq.heappush(self._deadlines, (task.deadline_ms, task.task_id))
        self._tasks[task.task_id] = task
        self._lane_sizes[task.lane] += 1
        self._order.add(task)
        if self._demand is not None:
            self._demand.add(task, self._closures.groups.get(task.lane))

    def pop(self, now_ms: int, refuser: Callable[[Waiting], Refuser | None]) -> Waiting | None:
        """See `Strategy.pop`."""
        self._expire(now_ms)
        while (task := self._order.choose(now_ms)) is not None:
            refused_by = refuser(task)
            if refused_by is None:
                self._asks.started(task, by_age=self._order.by_age(task))
                self._order.started(task)
                self._remove(task)
                return task
            self._close(task.lane, refused_by)
        return None

    def reopen(self, refuser: Refuser) -> None:
        """See `Strategy.reopen`."""
        if (group := self._closures.open(refuser)) is not None:
            self._turned(group)

    def discard(self, task_id: str) -> None:
        """See `Strategy.discard`."""
        self._expired.pop(task_id, None)
        if (task := self._tasks.get(task_id)) is not None:
            self._remove(task)

    def expired(self, now_ms: int) -> list[Waiting]:
        """See `Strategy.expired`."""
        self._expire(now_ms)
        found = list(self._expired.values())
        self._expired.clear()
        return found

    def ended(self, task: Waiting, usage: Usage) -> None:
        """See `Strategy.ended`."""
        if usage.complete:
            self._learned.learn(task.lane.task_type, task.lane.model, usage.seconds)
        self._order.ended(task, usage)
        self._asks.ended(task.task_id)

    def victims(self, running: Iterable[Running], free_slots: int, now_ms: int) -> list[str]:
        """See `Strategy.victims`."""
        return self._asks.victims(running, free_slots, now_ms)

    def wait_bound(self, older: int) -> WaitBound | None:
        """See `Strategy.wait_bound`."""
        return self._bound(older)

    def waiting(self) -> list[Waiting]:
        """See `Strategy.waiting`."""
        return [*self._tasks.values(), *self._expired.values()]

    def __len__(self) -> int:
        return len(self._tasks) + len(self._expired)

    def _close(self, lane: Lane, refuser: Refuser) -> None:
        group, was_open = self._closures.close(refuser)
        if was_open:
            self._turned(group)
        if (moved := self._closures.place(lane, group)) is not None:
            self._order.moved(*moved)
            if self._demand is not None:
                self._demand.moved(*moved, group)

    def _turned(self, group: Group) -> None:
        self._order.turned(group)
        if self._demand is not None:
            self._demand.turned(group)

    def _remove(self, task: Waiting) -> None:
        del self._tasks[task.task_id]
        self._order.remove(task)
        if self._demand is not None:
            self._demand.remove(task, self._closures.groups.get(task.lane))
        self._lane_sizes[task.lane] -= 1
        if not self._lane_sizes[task.lane]:
            del self._lane_sizes[task.lane]
            self._closures.forget(task.lane)
        if len(self._deadlines) > 2 * len(self._tasks) + STALE_MAX:
            self._deadlines = [
                (waiting.deadline_ms, task_id)
                for task_id, waiting in self._tasks.items()
                if waiting.deadline_ms is not None
            ]
            heapq.heapify(self._deadlines)

    def _expire(self, now_ms: int) -> None:
        while self._deadlines and self._deadlines[0][0] <= now_ms:
            deadline_ms, task_id = heapq.heappop(self._deadlines)
            task = self._tasks.get(task_id)
            if task is not None and task.deadline_ms == deadline_ms:
                self._remove(task)
                self._expired[task_id] = task
