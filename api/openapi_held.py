"""The description of the workflow and schedule routes."""

from __future__ import annotations

from pydantic import BaseModel

from api.openapi_parts import IDEMPOTENCY_KEY, Json, answer, json_body, operation, query
from api.ports import ApiSettings
from api.workflow_views import SchedulesView, ScheduleView, StepView, WorkflowView
from schemas.submission import Schedule, Workflow

ANSWERS: tuple[type[BaseModel], ...] = (WorkflowView, StepView, ScheduleView, SchedulesView)
BODIES: tuple[type[BaseModel], ...] = (Workflow, Schedule)
TAGS = ("workflows", "schedules")
_BAD_BODY = (413, 415, 422)
_AWAY = (500, 503)


def paths(settings: ApiSettings) -> Json:
    """By path and method."""
    return _workflows(settings) | _schedules()


def _workflows(settings: ApiSettings) -> Json:
    one = [_path("workflow_id")]
    wait = {"type": "number", "minimum": 0, "maximum": settings.wait_seconds_max}
    waiting = [*one, query("wait", wait, "Hold the answer until all steps have ended, or for so many seconds.")]
    accepted = answer(
        202, "The log holds all of its tasks.", WorkflowView, 400, 409, 429, *_BAD_BODY, *_AWAY, location=True
    )
    cancelled = answer(202, "Its unfinished tasks were asked to stop.", WorkflowView, 404, *_AWAY)
    cancelled["200"] = answer(200, "All have ended already.", WorkflowView)["200"]
    return {
        "/api/v1/workflows": {
            "post": operation(
                "submitWorkflow",
                "workflows",
                "Submit tasks that depend on one another",
                accepted,
                [IDEMPOTENCY_KEY],
                requestBody=json_body(Workflow),
            )
        },
        "/api/v1/workflows/{workflow_id}": {
            "get": operation(
                "getWorkflow",
                "workflows",
                "The state of each step",
                answer(200, "The workflow.", WorkflowView, 404, 422, *_AWAY),
                waiting,
            ),
            "delete": operation("cancelWorkflow", "workflows", "Cancel all unfinished steps", cancelled, one),
        },
    }


def _schedules() -> Json:
    one = [_path("schedule_id")]
    created = answer(201, "It ticks from now on.", ScheduleView, 409, *_BAD_BODY, *_AWAY, location=True)
    created["200"] = answer(200, "It is there already.", ScheduleView)["200"]
    every = answer(200, "All schedules, by id.", SchedulesView, *_AWAY)
    return {
        "/api/v1/schedules": {
            "get": operation("listSchedules", "schedules", "List schedules", every),
            "post": operation(
                "createSchedule",
                "schedules",
                "Submit a task again and again, at the times of a cron expression",
                created,
                requestBody=json_body(Schedule),
            ),
        },
        "/api/v1/schedules/{schedule_id}": {
            "get": operation(
                "getSchedule",
                "schedules",
                "Read a schedule",
                answer(200, "The schedule.", ScheduleView, 404, *_AWAY),
                one,
            ),
            "delete": operation(
                "removeSchedule",
                "schedules",
                "Remove a schedule; tasks that it has submitted stay",
                answer(200, "Those that are left.", SchedulesView, 404, *_AWAY),
                one,
            ),
        },
    }


def _path(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
