"""What the API answers: the models that the OpenAPI document shows, and how rows become them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema
from starlette.responses import Response

from api.ports import TaskRow
from domain.states import TaskStatus
from projections.history import HistoryEntry
from schemas.envelope import rfc3339
from schemas.events import TaskSubmitted

Moment = Annotated[
    datetime,
    PlainSerializer(rfc3339, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class View(BaseModel):
    """What all answers share."""

    model_config = ConfigDict(frozen=True)


class TaskProblem(View):
    """Why a task did not complete, or why its last attempt failed."""

    code: str
    detail: str


class TaskView(View):
    """A task. Times are RFC 3339 in UTC; `attempt` counts from 1, 0 means that none has started."""

    task_id: str
    type: str | None
    status: TaskStatus
    priority: int | None
    attempt: int
    payload: Any = None
    result: Any = None
    error: TaskProblem | None = None
    tenant: str | None = None
    model: str | None = None
    run: int = Field(description="1 for the first submission, one more for each retry by hand.")
    timeout: float | None = Field(default=None, description="Seconds that one attempt may take.")
    max_retries: int | None = None
    metadata: Any = None
    callback_url: str | None = None
    submitted_at: Moment | None = None
    queued_at: Moment | None = None
    started_at: Moment | None = Field(default=None, description="Start of the latest attempt.")
    finished_at: Moment | None = None
    held_until: Moment | None = None
    held_for: str | None = Field(default=None, description="Why it waits outside every queue, while it does.")
    retry_at: Moment | None = None
    deadline: Moment | None = None
    estimated_time: float | None = Field(default=None, description="Seconds, as its sender thinks.")
    depends_on: list[str] = Field(default_factory=list, description="Tasks that must have ended first.")
    workflow_id: str | None = None
    schedule_id: str | None = None
    route_by: str | None = None
    fallbacks: list[str] = Field(default_factory=list)


class AcceptedView(View):
    """A task that the log holds."""

    task_id: str
    status: TaskStatus


class TaskListView(View):
    """One page of tasks, the newest first."""

    total: int
    page: int
    page_size: int
    tasks: list[TaskView]


class HistoryEntryView(View):
    """One fact of a task's history, and where it lies in the log."""

    event_id: str
    type: str
    occurred_at: Moment
    run: int
    epoch: int
    attempt: int
    accepted: bool = Field(description="False: stale or impossible, on record and without effect.")
    details: dict[str, Any]
    topic: str
    partition: int
    offset: int


class HistoryView(View):
    """All facts of a task, in the order of the log."""

    task_id: str
    events: list[HistoryEntryView]


class ComponentView(View):
    """One part of the system."""

    status: str = Field(description="`up` or `down`.")
    detail: str = ""
    lag: int | None = Field(default=None, description="Records that it has yet to read.")


class HealthView(View):
    """The system, part by part."""

    status: str = Field(description="`ready` or `not-ready`.")
    version: str
    components: dict[str, ComponentView]


def task_view(row: TaskRow) -> TaskView:
    """A row as callers read it."""
    state, submission = row.state, row.state.submission
    assert state.status is not None, "a row exists only after a fact"
    due = state.due_at
    return TaskView(
        task_id=state.task_id,
        type=row.type,
        status=state.status,
        priority=state.priority,
        attempt=state.attempt,
        payload=_parsed(submission.payload) if submission else None,
        result=_parsed(state.result),
        error=TaskProblem(code=state.error_code, detail=state.error_detail or "") if state.error_code else None,
        tenant=row.tenant,
        model=state.model,
        run=max(state.run, 1),
        timeout=submission.timeout_seconds if submission else None,
        max_retries=submission.attempts_max - 1 if submission else None,
        metadata=_parsed(submission.metadata) if submission else None,
        callback_url=submission.callback_url if submission else None,
        submitted_at=state.submitted_at,
        queued_at=state.queued_at,
        started_at=state.started_at,
        finished_at=state.finished_at,
        held_until=due if state.status is TaskStatus.HELD else None,
        held_for=row.hold_reason if state.status is TaskStatus.HELD else None,
        retry_at=due if state.status in (TaskStatus.RETRY_SCHEDULED, TaskStatus.QUEUED) else None,
        **(_relations(submission) if submission else {}),
    )


def _relations(submission: TaskSubmitted) -> dict[str, Any]:
    """What a submission says of its time, its target and other tasks."""
    return {
        "deadline": submission.deadline_at,
        "estimated_time": submission.estimated_seconds,
        "depends_on": list(submission.depends_on),
        "workflow_id": submission.workflow_id,
        "schedule_id": submission.schedule_id,
        "route_by": submission.route_by,
        "fallbacks": list(submission.fallbacks),
    }


def history_entry_view(entry: HistoryEntry) -> HistoryEntryView:
    """A fact as callers read it."""
    return HistoryEntryView(
        event_id=str(entry.event_id),
        type=entry.type,
        occurred_at=entry.at.astimezone(UTC),
        run=entry.run,
        epoch=entry.epoch,
        attempt=entry.attempt,
        accepted=entry.accepted,
        details=_parsed(entry.data),
        topic=entry.topic,
        partition=entry.partition,
        offset=entry.offset,
    )


def json_response(view: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The view as JSON in UTF-8; a text that is no Unicode (a lone surrogate in a result) keeps its escapes."""
    document = view.model_dump(mode="python", by_alias=True)
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain)
    try:
        body = text.encode()
    except UnicodeEncodeError:
        body = json.dumps(document, separators=(",", ":"), allow_nan=False, default=_plain).encode()
    return Response(body, status, headers, "application/json")


def _plain(value: object) -> str:
    assert isinstance(value, datetime), "everything else in a view is JSON already"
    return rfc3339(value)


def _parsed(text: str | None) -> Any:
    """JSON text as values; what JSON has no word for (NaN) reads as null."""
    return None if text is None else json.loads(text, parse_constant=lambda _: None)
