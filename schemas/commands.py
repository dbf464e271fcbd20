"""What may be asked of a task's owner through the log. Only the owner turns a command into a fact."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from schemas.events import derived_uuid


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelTask:
    """Stop this run of the task, wherever it waits or runs. Repeating it changes nothing."""

    TYPE: ClassVar[str] = "task.cancel"
    VERSION: ClassVar[int] = 1

    task_id: str
    requested_at: datetime
    #: The run that was meant; a later retry by hand is not hit by an earlier cancel.
    run: int = 1
    reason: str = "requested"

    @property
    def event_id(self) -> str:
        """The same request always has the same id."""
        return derived_uuid(f"{self.task_id}/{self.run}/{self.TYPE}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePriority:
    """Give this run of the task another priority, while it waits. Without effect on one that runs or has ended."""

    TYPE: ClassVar[str] = "task.change_priority"
    VERSION: ClassVar[int] = 1

    task_id: str
    requested_at: datetime
    #: 1 low, 2 normal, 3 high.
    priority: int
    run: int = 1
    reason: str = "requested"

    @property
    def event_id(self) -> str:
        """Each request is one of its own: a priority may go up, down and up again."""
        return derived_uuid(f"{self.task_id}/{self.run}/{self.TYPE}/{self.priority}/{self.requested_at.isoformat()}")


TaskCommand = CancelTask | ChangePriority

TASK_COMMANDS: tuple[type[TaskCommand], ...] = (CancelTask, ChangePriority)
