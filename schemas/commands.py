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


TaskCommand = CancelTask

TASK_COMMANDS: tuple[type[CancelTask], ...] = (CancelTask,)
