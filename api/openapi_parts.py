"""Pieces that descriptions of routes are put together from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

REF = "#/components/schemas/{model}"

Json = dict[str, Any]

#: Parameter of every route of one task.
TASK_ID: Json = {"name": "task_id", "in": "path", "required": True, "schema": {"type": "string"}}

IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 257},
    "description": "The same key of the same tenant is the same task, or workflow.",
}


def answer(status: int, what: str, model: type[BaseModel], *problem_statuses: int, location: bool = False) -> Json:
    """The responses of an operation: one that is well, and problems by status."""
    ok: Json = {
        "description": what,
        "content": {"application/json": {"schema": {"$ref": REF.format(model=model.__name__)}}},
    }
    if location:
        ok["headers"] = {"Location": {"description": "Where the task reads.", "schema": {"type": "string"}}}
    refused = {str(code): {"$ref": f"#/components/responses/Problem{code}"} for code in problem_statuses}
    return {str(status): ok} | refused


def query(name: str, schema: Json, description: str) -> Json:
    """An optional parameter of the query string."""
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def operation(name: str, tag: str, summary: str, responses: Json, parameters: Iterable[Json] = (), **more: Any) -> Json:
    """One method of one path."""
    return {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "parameters": list(parameters),
        "responses": responses,
        **more,
    }


def json_body(model: type[BaseModel]) -> Json:
    """A required JSON body."""
    return {"required": True, "content": {"application/json": {"schema": {"$ref": REF.format(model=model.__name__)}}}}
