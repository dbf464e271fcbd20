"""What others want of a task: that it is cancelled, or goes sooner or later. Kept for tasks that are not here yet."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from agents.entries import Entry, Stop
from agents.remembered import Remembered
from agents.window import Window
from domain.decide import Cancel, OwnerCommand
from domain.decide import ChangePriority as ChangePriorityCommand
from domain.states import ACTIVE, TaskStatus
from schemas.commands import CancelTask, ChangePriority, TaskCommand


class Entries(Protocol):
    """What wishes need of the owner."""

    entries: dict[str, Entry]

    def commit(self, entry: Entry, command: OwnerCommand, then: Callable[[], None]) -> bool:
        """See `Owner.commit`."""

    def settle(self, entry: Entry) -> None:
        """See `Owner.settle`."""


class Wishes:
    """Every worker hears every command; the owner of its task obeys, and the others remember it in case it comes."""

    def __init__(self, owner: Entries, window: Window) -> None:
        self._owner, self._window = owner, window
        #: The run to cancel.
        self._cancels: Remembered[int] = Remembered(0)
        #: Run, moment of the request in seconds since 1970, and priority: the latest request counts.
        self._priorities: Remembered[tuple[int, float, int]] = Remembered((0, 0.0, 0))

    def obey(self, command: TaskCommand) -> None:
        """Do what a command of the log asks for. Commands may be repeated without harm."""
        match command:
            case CancelTask(task_id=task_id, run=run, reason=reason):
                self.cancel(task_id, run, reason)
            case ChangePriority(task_id=task_id, run=run, priority=priority):
                self._priorities.add(task_id, (run, command.requested_at.timestamp(), priority))
                if (entry := self._owner.entries.get(task_id)) is not None:
                    self.apply_priority(entry, command.reason)

    def cancel(self, task_id: str, run: int, reason: str) -> None:
        """Stop the task if it is here; remember the wish if it is not here yet, or is on its way elsewhere."""
        entry = self._owner.entries.get(task_id)
        if entry is None or entry.leaving or run > entry.state.run:
            self._cancels.add(task_id, run)
        elif run == entry.state.run:
            self._cancel(entry, reason)

    def cancels(self, entry: Entry) -> bool:
        """Whether somebody wanted the task to be cancelled before it came; then it is."""
        return self._cancels.of(entry.task_id) == entry.state.run and self._cancel(entry, "requested")

    def apply_priority(self, entry: Entry, reason: str = "requested") -> None:
        """Give the task the priority that was asked for, if it waits."""
        run, _, priority = self._priorities.of(entry.task_id)
        if run != entry.state.run or entry.leaving or entry.state.status in ACTIVE or entry.state.terminal:
            return
        command = ChangePriorityCommand(at=datetime.now(UTC), priority=priority, reason=reason)
        if self._owner.commit(entry, command, lambda: None):
            self._window.changed(entry, int(datetime.now(UTC).timestamp() * 1000))

    def _cancel(self, entry: Entry, reason: str) -> bool:
        cancel = Cancel(at=datetime.now(UTC), reason=reason)
        if not self._owner.commit(entry, cancel, lambda: self._owner.settle(entry)):
            return False
        self._window.discard(entry, int(datetime.now(UTC).timestamp() * 1000))
        if entry.state.status is TaskStatus.CANCELLING:
            entry.stop = Stop.CANCEL
            if entry.execution is not None:
                entry.execution.cancel()
        return True
