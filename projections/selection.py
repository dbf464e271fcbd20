"""Picking unfinished tasks by what they are, page after page: for what is asked of many tasks at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.states import TERMINAL, TaskStatus
from projections.tasks import TASKS

_C = TASKS.c
UNFINISHED = frozenset(TaskStatus) - TERMINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which of the unfinished tasks; None means any."""

    statuses: Collection[TaskStatus] | None = None
    type: str | None = None
    tenant: str | None = None
    model: str | None = None
    #: 1 low, 2 normal, 3 high.
    priority: int | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Selected:
    """One of them."""

    task_id: str
    run: int
    status: TaskStatus


async def page(connection: AsyncConnection, wanted: Selection, *, after: str, limit: int) -> Sequence[Selected]:
    """So many of the tasks that match, by task id, those behind `after`: what ends meanwhile moves no page."""
    query = (
        select(_C.task_id, _C.run, _C.status)
        .where(*_matches(wanted), _C.task_id > after)
        # An expression: by the primary key, PostgreSQL would walk through every task that ever was.
        .order_by(_C.task_id.concat(""))
        .limit(limit)
    )
    return [Selected(task_id, run, TaskStatus(status)) for task_id, run, status in await connection.execute(query)]


async def count(connection: AsyncConnection, wanted: Selection) -> int:
    """How many tasks match."""
    query = select(func.count()).select_from(TASKS).where(*_matches(wanted))
    return int((await connection.execute(query)).scalar_one())


def _matches(wanted: Selection) -> list[ColumnElement[bool]]:
    statuses = UNFINISHED if wanted.statuses is None else UNFINISHED & frozenset(wanted.statuses)
    matches: list[ColumnElement[bool]] = [_C.latest, _C.status.in_(sorted(statuses))]
    for column, value in (
        (_C.type, wanted.type),
        (_C.tenant, wanted.tenant),
        (_C.model, wanted.model),
        (_C.priority, wanted.priority),
    ):
        if value is not None:
            matches.append(column == value)
    if wanted.created_before is not None:
        matches.append(_C.created_at < wanted.created_before)
    return matches
