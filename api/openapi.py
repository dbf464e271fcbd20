"""The OpenAPI document, made from the very models that requests are checked by and answers are made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api import openapi_control, openapi_held, problems, queries, views
from api.openapi_parts import IDEMPOTENCY_KEY, REF, TASK_ID, Json, answer, operation, query
from api.ports import ApiSettings
from domain.catalogue import Catalogue, TaskType
from schemas.submission import Submission

VERSION = "3.1.0"
_ANSWERS: tuple[type[BaseModel], ...] = (
    views.TaskView,
    views.AcceptedView,
    views.TaskListView,
    views.HistoryView,
    views.ComponentView,
    views.HealthView,
)


def document(settings: ApiSettings, catalogue: Catalogue) -> Json:
    """The whole document; the same settings and task types give the same text."""
    types = [catalogue[name] for name in sorted(catalogue)]
    return {
        "openapi": VERSION,
        "info": {
            "title": "Penstock",
            "version": settings.version,
            "description": "Submit tasks, follow them, steer how they start, see why they wait. "
            "Errors are problem details (RFC 9457).",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        # Relative: the document is right wherever a proxy puts it.
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in ("tasks", *openapi_held.TAGS, "scheduler", "models", "system")],
        "paths": _task_paths(settings) | openapi_held.paths(settings) | openapi_control.paths() | _system_paths(),
        "components": {"schemas": _schemas(types), "responses": _problem_responses()},
    }


def _schemas(types: Iterable[TaskType]) -> Json:
    types = list(types)
    wanted: list[tuple[type[BaseModel], Any]] = [(model, "serialization") for model in _ANSWERS]
    wanted += [(model, "serialization") for model in (*openapi_control.ANSWERS, *openapi_held.ANSWERS)]
    wanted += [(model, "validation") for model in (*openapi_control.BODIES, *openapi_held.BODIES)]
    wanted += [(task_type.payload, "validation") for task_type in types]
    names, definitions = models_json_schema([*wanted, (Submission, "validation")], ref_template=REF)
    schemas: Json = dict(definitions["$defs"])
    submission = schemas.pop(_name_of(names[Submission, "validation"]))
    mapping = {}
    for task_type in types:
        name = f"Submission_{_identifier(task_type.name)}"
        schemas[name] = _submission_of(task_type, submission, names[task_type.payload, "validation"])
        mapping[task_type.name] = REF.format(model=name)
    schemas["Submission"] = {"oneOf": [{"$ref": ref} for ref in mapping.values()]} if mapping else submission
    if mapping:
        schemas["Submission"]["discriminator"] = {"propertyName": "type", "mapping": mapping}
    schemas["Problem"] = _PROBLEM
    return dict(sorted(schemas.items()))


def _submission_of(task_type: TaskType, submission: Json, payload: Json) -> Json:
    """The shape of a submission of one type: the common one with its own payload."""
    properties = submission["properties"] | {
        "type": {"type": "string", "const": task_type.name},
        "payload": payload,
    }
    required = ["type"] + (["payload"] if _needs_payload(task_type) else [])
    title = f"Submission of {task_type.name}"
    shape: Json = submission | {"title": title, "properties": properties, "required": required}
    shape["description"] = task_type.description or f"Runs in resource class {task_type.resource_class}."
    return shape


def _needs_payload(task_type: TaskType) -> bool:
    return any(field.is_required() for field in task_type.payload.model_fields.values())


def _name_of(reference: Json) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _identifier(name: str) -> str:
    """Component names allow few characters. Source: OpenAPI 3.1.0, section 4.8.7.1."""
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "_" for letter in name)


_PROBLEM: Json = {
    "type": "object",
    "title": "Problem details",
    "description": "Source: RFC 9457. `type` is stable: compare it, and show `detail`.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri", "enum": [kind.type for kind in problems.KINDS]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer into the body, or ?name of a query."},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}


def _problem_responses() -> Json:
    """One response per status, since several kinds of problem share one."""
    by_status: dict[int, list[problems.Kind]] = {}
    for kind in problems.KINDS:
        by_status.setdefault(kind.status, []).append(kind)
    return {
        f"Problem{status}": {
            "description": "; ".join(f"{kind.title} (`{kind.type}`)" for kind in kinds),
            "headers": {"Retry-After": {"schema": {"type": "integer"}}} if status in (429, 503) else {},
            "content": {problems.MEDIA_TYPE: {"schema": {"$ref": REF.format(model="Problem")}}},
        }
        for status, kinds in sorted(by_status.items())
    }


def _task_paths(settings: ApiSettings) -> Json:
    name = {"type": "string", "minLength": 1, "maxLength": queries.NAME_CHARACTERS_MAX}
    wait = {"type": "number", "minimum": 0, "maximum": settings.wait_seconds_max}
    body = {"required": True, "content": {"application/json": {"schema": {"$ref": REF.format(model="Submission")}}}}
    submitted = answer(
        202, "The log holds the task.", views.AcceptedView, 400, 409, 413, 415, 422, 429, 500, 503, location=True
    )
    page = {"type": "integer", "minimum": 1, "default": 1, "maximum": queries.PAGE_MAX}
    page_size = {"type": "integer", "minimum": 1, "default": queries.PAGE_SIZE, "maximum": queries.PAGE_SIZE_MAX}
    filters = [
        query("page", page, "Counts from 1."),
        query("page_size", page_size, "Tasks a page."),
        query("status", {"type": "string", "enum": list(queries.STATUSES)}, "`pending`: all that still have to start."),
        query("type", name, "Task type."),
        query("tenant", name, "On whose behalf."),
    ]
    one = "/api/v1/tasks/{task_id}"
    cancelled = answer(202, "Its owner has been asked to stop it.", views.AcceptedView, 404, 409, 500, 503)
    cancelled["200"] = answer(200, "It is cancelled already.", views.TaskView)["200"]
    waiting = [TASK_ID, query("wait", wait, "Hold the answer until the task has ended, or for so many seconds.")]
    return {
        "/api/v1/tasks": {
            "post": operation("submitTask", "tasks", "Submit a task", submitted, [IDEMPOTENCY_KEY], requestBody=body),
            "get": operation(
                "listTasks",
                "tasks",
                "List tasks",
                answer(200, "One page.", views.TaskListView, 422, 500, 503),
                filters,
            ),
        },
        one: {
            "get": operation(
                "getTask",
                "tasks",
                "Read a task",
                answer(200, "The task.", views.TaskView, 404, 422, 500, 503),
                waiting,
            ),
            "delete": operation("cancelTask", "tasks", "Cancel a task", cancelled, [TASK_ID]),
        },
        one + "/history": {
            "get": operation(
                "getTaskHistory",
                "tasks",
                "Everything that happened to a task",
                answer(200, "All facts.", views.HistoryView, 404, 500, 503),
                [TASK_ID],
            )
        },
        one + "/retry": {
            "post": operation(
                "retryTask",
                "tasks",
                "Run a failed, cancelled or expired task once more",
                answer(202, "It runs again.", views.AcceptedView, 404, 409, 429, 500, 503, location=True),
                [TASK_ID],
            )
        },
    }


def _system_paths() -> Json:
    ready = answer(200, "Tasks can run.", views.HealthView, 503)
    health = answer(200, "How each part is.", views.HealthView, 500)
    alive = answer(200, "The process answers.", views.ComponentView)
    return {
        "/health": {"get": operation("isAlive", "system", "Whether this process is alive", alive)},
        "/ready": {"get": operation("isReady", "system", "Whether tasks can run", ready)},
        "/api/v1/system/health": {"get": operation("systemHealth", "system", "How each part is", health)},
    }
