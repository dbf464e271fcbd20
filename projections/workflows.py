"""The steps of workflows, as the tasks read model has them: without payloads and results, which may be large."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.states import TaskStatus
from projections.tasks import TASKS

_C = TASKS.c


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """The task of one step. Times are aware UTC."""

    task_id: str
    run: int
    workflow_id: str | None
    status: TaskStatus
    type: str | None
    tenant: str | None
    attempt: int
    depends_on: tuple[str, ...]
    on_dependency_failure: str | None
    error_code: str | None
    error_detail: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


async def steps(connection: AsyncConnection, workflow_id: str, task_ids: Collection[str] = ()) -> list[StepRow]:
    """The tasks of a workflow, and those that have one of the ids, by task id."""
    matches = _C.workflow_id == workflow_id
    query = (
        select(
            _C.task_id,
            _C.run,
            _C.workflow_id,
            _C.status,
            _C.type,
            _C.tenant,
            _C.attempt,
            _C.depends_on,
            _C.on_dependency_failure,
            _C.error_code,
            _C.error_detail,
            _C.created_at,
            _C.started_at,
            _C.finished_at,
        )
        .where(_C.latest, or_(matches, _C.task_id == func.any(list(task_ids))) if task_ids else matches)
        .order_by(_C.task_id)
    )
    return [
        StepRow(**{**row, "status": TaskStatus(row["status"]), "depends_on": tuple(row["depends_on"] or ())})
        for row in (await connection.execute(query)).mappings()
    ]
