"""Who is asked to make room for those that wait. A slot is only asked for, never taken: the handler gives it back.

What waits in a closed lane claims a slot too, but only of an attempt whose end may open it: one of its own lane, or on
its own model. Otherwise a task would be stopped for one that still could not start.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from domain.strategies.strategy import Lane, Running, Waiting


class Asks(Protocol):
    """What a scheduler tells, and asks."""

    def added(self, task: Waiting, closed: bool) -> None:
        """The task waits, in a lane that is closed or not."""

    def removed(self, task: Waiting, closed: bool) -> None:
        """The task waits no more."""

    def closed(self, lane: Lane) -> None:
        """The lane, which was open and holds tasks, is closed."""

    def opened(self, lane: Lane) -> None:
        """The lane, which was closed and holds tasks, is open."""

    def started(self, task: Waiting) -> None:
        """The task starts; it still waits."""

    def ended(self, task_id: str) -> None:
        """An attempt of the task is over."""

    def victims(self, running: Iterable[Running], free_slots: int, now_ms: int) -> list[str]:
        """See `Strategy.victims`."""


class NobodyAsks:
    """Each attempt runs to its end. See `Asks`."""

    def added(self, task: Waiting, closed: bool) -> None:
        """See `Asks.added`."""

    def removed(self, task: Waiting, closed: bool) -> None:
        """See `Asks.removed`."""

    def closed(self, lane: Lane) -> None:
        """See `Asks.closed`."""

    def opened(self, lane: Lane) -> None:
        """See `Asks.opened`."""

    def started(self, task: Waiting) -> None:
        """See `Asks.started`."""

    def ended(self, task_id: str) -> None:
        """See `Asks.ended`."""

    def victims(self, running: Iterable[Running], free_slots: int, now_ms: int) -> list[str]:
        """See `Strategy.victims`."""
        return []
