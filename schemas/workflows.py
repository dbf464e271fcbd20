"""Workflows: tasks that are accepted together, as one record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from schemas.events import derived_uuid


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSubmitted:
    """Several tasks that depend on one another were accepted, all of them or none. Intake makes the tasks of it."""

    TYPE: ClassVar[str] = "workflow.submitted"
    VERSION: ClassVar[int] = 1

    workflow_id: str
    #: When its writer decided it, by the writer's clock.
    occurred_at: datetime
    tenant: str = "default"
    #: What becomes of the other steps when one does not complete: `fail_fast` or `continue`.
    on_failure: str = "fail_fast"
    #: A JSON object: each step by its name, as `schemas.submission.Step` has it.
    steps: str
    #: The door it came through: `http`, `intake`.
    source: str = "http"
    #: W3C trace context of the submitter.
    traceparent: str | None = None

    @property
    def event_id(self) -> str:
        """The same workflow always has the same id."""
        return derived_uuid(f"{self.workflow_id}/{self.TYPE}")
