"""The held tasks read model: work outside every window. It is the held part of `tasks`, through indexes of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Index, and_, func, literal, not_, null, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain import holds
from domain.states import TaskStatus
from projections.tasks import TASKS, state_of
from streams.ports import HeldTask

_C = TASKS.c
_HELD_TEXT = "latest AND status = 'held'"
_HELD = _C.latest & (_C.status == str(TaskStatus.HELD))
HELD_INDEX = Index("ix_tasks_held", _C.resource_class, _C.due_at, _C.created_at, postgresql_where=text(_HELD_TEXT))
REASON_INDEX = Index(
    "ix_tasks_hold_reason", _C.hold_reason, _C.resource_class, _C.created_at, postgresql_where=text(_HELD_TEXT)
)
DEADLINE_INDEX = Index(
    "ix_tasks_held_deadline",
    _C.deadline_at,
    postgresql_where=text(f"{_HELD_TEXT} AND deadline_at IS NOT NULL"),
)
#: A task stays held until an owner speaks of it, which may take long in a deep queue; its submission on the class topic
#: tells that its wait is over.
_RELEASED = func.coalesce(and_(_C.appended_at.is_not(None), _C.appended_at >= _C.held_at), literal(False))
STAYED = not_(_RELEASED)
_WHOLE = _C.submission.is_not(None)
#: A moment alone ends no other hold.
_BY_TIME = not_(
    or_(
        _C.hold_reason == holds.DEPENDENCIES,
        *(_C.hold_reason.startswith(f"{kind}:") for kind in (holds.PAUSED, holds.MODEL_OFFLINE)),
    )
)


async def due_held(connection: AsyncConnection, resource_class: str, now: datetime, limit: int) -> list[HeldTask]:
    """Held tasks of a class that may go on now and whose submission the log has not taken again, longest due first."""
    return await _query(
        connection,
        limit,
        _C.resource_class == resource_class,
        _C.due_at <= now,
        _BY_TIME,
        STAYED,
    )


async def held_for(
    connection: AsyncConnection, reasons: Collection[str], resource_class: str, limit: int
) -> list[HeldTask]:
    """Held tasks of a class with one of the reasons and whose submission the log has not taken again, oldest first."""
    return await _query(
        connection,
        limit,
        _C.hold_reason == func.any(list(reasons)),
        _C.resource_class == resource_class,
        STAYED,
        order=(_C.created_at, _C.task_id),
    )


async def expired_held(connection: AsyncConnection, now: datetime, limit: int) -> list[HeldTask]:
    """Held tasks whose deadline has passed."""
    return await _query(connection, limit, _C.deadline_at <= now, STAYED)


async def held_among(connection: AsyncConnection, task_ids: Collection[str]) -> list[HeldTask]:
    """Those of the tasks that are held."""
    return await _query(connection, len(task_ids), _C.task_id == func.any(list(task_ids)))


async def hold_reasons(connection: AsyncConnection) -> list[str]:
    """What tasks are held for, each reason once: as many index look-ups as there are reasons."""
    smallest = select(func.min(_C.hold_reason).label("reason")).where(_HELD)
    found = smallest.cte("reasons", recursive=True)
    following = select(func.min(_C.hold_reason)).where(_HELD, _C.hold_reason > found.c.reason).scalar_subquery()
    found = found.union_all(select(following).where(found.c.reason.is_not(None)))
    query = select(found.c.reason).where(found.c.reason.is_not(None))
    return list((await connection.execute(query)).scalars())


async def _query(
    connection: AsyncConnection,
    limit: int,
    *matches: ColumnElement[bool],
    order: Sequence[ColumnElement[Any]] = (_C.due_at, _C.created_at, _C.task_id),
) -> list[HeldTask]:
    columns = [column for column in TASKS.columns if column is not _C.result]
    query = (
        select(*columns, null().label("result"), _RELEASED.label("released"))
        .where(_HELD, _WHOLE, *matches)
        .order_by(*order)
        .limit(limit)
    )
    return [_held_task(row) for row in (await connection.execute(query)).mappings()]


def _held_task(row: Mapping[Any, Any]) -> HeldTask:
    return HeldTask(
        state=state_of(row),
        reason=row["hold_reason"] or "",
        submission=row["submission"],
        released=row["released"],
    )
