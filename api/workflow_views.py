"""What the workflow and schedule routes answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from api.views import Moment, TaskProblem, View
from domain.configuration import Schedule
from domain.cron import InvalidCron
from domain.schedules import rule_of
from domain.states import TaskStatus
from domain.workflow import FAIL_FAST, WorkflowStatus, status_of, step_of
from projections.workflows import StepRow


class StepView(View):
    """The task of one step; its result is read as that of any task."""

    task_id: str
    type: str | None
    status: TaskStatus
    attempt: int
    depends_on: list[str] = Field(description="Names of steps.")
    error: TaskProblem | None = None
    started_at: Moment | None = None
    finished_at: Moment | None = None


class WorkflowView(View):
    """A workflow, step by step."""

    workflow_id: str
    status: WorkflowStatus = Field(description="What its steps add up to.")
    tenant: str | None
    on_failure: str
    submitted_at: Moment
    steps: dict[str, StepView]


class ScheduleView(View):
    """A schedule, and when it comes next; null: never again."""

    schedule_id: str
    cron: str
    time_zone: str
    catch_up: str
    submission: dict[str, Any]
    defined_at: Moment
    next_at: Moment | None


class SchedulesView(View):
    """All schedules, by id."""

    schedules: list[ScheduleView]


def workflow_view(workflow_id: str, rows: Sequence[StepRow]) -> WorkflowView:
    """The rows of its steps, at least one, as callers read them."""
    mine = [row for row in rows if row.workflow_id == workflow_id] or list(rows)
    return WorkflowView(
        workflow_id=workflow_id,
        status=status_of([row.status for row in mine]),
        tenant=mine[0].tenant,
        on_failure=FAIL_FAST if mine[0].on_dependency_failure == FAIL_FAST else "continue",
        submitted_at=min(row.created_at for row in mine),
        steps={step_of(workflow_id, row.task_id): _step_view(workflow_id, row) for row in mine},
    )


def _step_view(workflow_id: str, row: StepRow) -> StepView:
    return StepView(
        task_id=row.task_id,
        type=row.type,
        status=row.status,
        attempt=row.attempt,
        depends_on=[step_of(workflow_id, each) for each in row.depends_on],
        error=TaskProblem(code=row.error_code, detail=row.error_detail or "") if row.error_code else None,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def schedule_view(schedule: Schedule, at: datetime) -> ScheduleView:
    """A schedule as callers read it."""
    try:
        next_at = next(rule_of(schedule).after(at), None)
    except InvalidCron:
        next_at = None
    return ScheduleView(
        schedule_id=schedule.schedule_id,
        cron=schedule.cron,
        time_zone=schedule.time_zone,
        catch_up=schedule.catch_up,
        submission=json.loads(schedule.submission),
        defined_at=schedule.defined_at,
        next_at=next_at,
    )
