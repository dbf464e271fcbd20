"""Where a waiting task stands, counted in the tasks read model in the order of each strategy."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.line import Line, Queue
from domain.states import TaskStatus
from projections.tasks import TASKS

#: States of a task that stands in line; one that waits for a retry or is held comes back to it later.
IN_LINE = (TaskStatus.SUBMITTED, TaskStatus.QUEUED)


async def line(connection: AsyncConnection, task_id: str, strategy: str) -> Line | None:
    """What waits beside a task, and what of it the strategy starts first; None for an unknown task.

    One pass over the waiting tasks of its class, however many they are.
    """
    me, other = TASKS.alias("me"), TASKS.alias("other")
    ahead = _ahead(strategy, other.c, me.c)
    same_model = other.c.model.is_not_distinct_from(me.c.model)
    query = (
        select(
            me.c.tenant,
            other.c.tenant,
            func.count(other.c.task_id),
            func.count(other.c.task_id).filter(ahead),
            func.count(other.c.task_id).filter(same_model),
            func.count(other.c.task_id).filter(same_model, ahead),
            func.count(other.c.task_id).filter(_arrival(other.c) < _arrival(me.c)),
        )
        .select_from(
            me.outerjoin(
                other,
                other.c.latest
                & other.c.status.in_(IN_LINE)
                & (other.c.resource_class == me.c.resource_class)
                & (other.c.task_id != me.c.task_id),
            )
        )
        .where(me.c.task_id == task_id, me.c.latest)
        .group_by(me.c.tenant, other.c.tenant)
    )
    rows = (await connection.execute(query)).all()
    if not rows:
        return None
    beside = [row for row in rows if row[2]]
    return Line(
        tenant=rows[0][0] or "",
        queues=tuple(Queue(row[1] or "", row[2], row[3]) for row in beside),
        of_model=tuple(Queue(row[1] or "", row[4], row[5]) for row in beside if row[4]),
        older=sum(row[6] for row in beside),
    )


def _arrival(task: Any) -> ColumnElement[Any]:
    """Order of acceptance; the id decides where the log took two in one millisecond."""
    return tuple_(func.coalesce(task.appended_at, task.created_at), task.task_id)


def _ahead(strategy: str, other: Any, me: Any) -> ColumnElement[bool]:
    """Whether the strategy starts the other task first; under `fair`, within one tenant."""
    earlier: ColumnElement[bool] = _arrival(other) < _arrival(me)
    match strategy:
        case "priority" | "preemptive" | "fair":
            first: ColumnElement[bool] = (other.priority > me.priority) | ((other.priority == me.priority) & earlier)
            return first
        case "round_robin":
            sooner: ColumnElement[bool] = tuple_(_turn(other), other.task_id) < tuple_(_turn(me), me.task_id)
            return sooner
        case _:
            return earlier


def _turn(task: Any) -> ColumnElement[Any]:
    """When a task last began to wait for a turn."""
    return func.greatest(task.queued_at, task.appended_at, task.created_at)
