"""The held tasks read model: work outside every window. It is the held part of `tasks`, through an index of its own."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, Index, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.states import TaskStatus
from projections.tasks import TASKS
from streams.ports import HeldTask

_C = TASKS.c
_HELD = _C.latest & (_C.status == str(TaskStatus.HELD))
HELD_INDEX = Index(
    "ix_tasks_held", _C.resource_class, _C.due_at, _C.created_at, postgresql_where=text("latest AND status = 'held'")
)


async def due_held(connection: AsyncConnection, resource_class: str, now: datetime, limit: int) -> list[HeldTask]:
    """Held tasks of a class that may go on now and whose submission the log has not taken again, longest due first."""
    # A task stays held until an owner speaks of it, which may take long in a deep queue; its submission on the class
    # topic tells that its wait is over.
    not_released = or_(_C.appended_at.is_(None), _C.appended_at < _C.held_at)
    return await _query(
        connection,
        limit,
        _C.resource_class == resource_class,
        _C.due_at <= now,
        not_released,
        _C.submission.is_not(None),
    )


async def held_among(connection: AsyncConnection, task_ids: Collection[str]) -> list[HeldTask]:
    """Those of the tasks that are held."""
    return await _query(connection, len(task_ids), _C.task_id == func.any(list(task_ids)), _C.submission.is_not(None))


async def _query(connection: AsyncConnection, limit: int, *matches: ColumnElement[bool]) -> list[HeldTask]:
    query = (
        select(_C.task_id, _C.run, _C.resource_class, _C.due_at, _C.submission)
        .where(_HELD, *matches)
        .order_by(_C.due_at, _C.created_at, _C.task_id)
        .limit(limit)
    )
    return [
        HeldTask(task_id=task_id, run=run, resource_class=resource_class, until=until, submission=submission)
        for task_id, run, resource_class, until, submission in await connection.execute(query)
    ]
