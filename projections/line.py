"""Where a waiting task stands, counted in the tasks read model in the order of each strategy."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, literal, select, true, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.line import Line, Queue, Within
from domain.states import TaskStatus
from domain.strategies.estimates import UNKNOWN_SECONDS, Kind
from projections.tasks import TASKS

#: States of a task that stands in line, unless it was put off; what waits for a retry or is held comes back later.
IN_LINE = (TaskStatus.SUBMITTED, TaskStatus.QUEUED)
#: The line of a task that nothing but its turn keeps.
EVERYBODY = Within()
#: The deadline of a task without one.
_NEVER = datetime.max.replace(tzinfo=UTC)


async def line(
    connection: AsyncConnection, task_id: str, strategy: str, seconds: Mapping[Kind, float], within: Within = EVERYBODY
) -> Line | None:
    """Who stands in line with a task, and whom of them the strategy starts first; None for an unknown task.

    `seconds` says how long tasks of a type and model take, as workers have learned it. One pass over the waiting tasks
    of the class, however many they are.
    """
    me, other = TASKS.alias("me"), TASKS.alias("other")
    ahead = _ahead(strategy, other.c, me.c, seconds)
    query = (
        select(
            me.c.tenant,
            other.c.tenant,
            func.count(other.c.task_id),
            func.count(other.c.task_id).filter(ahead),
            func.count(other.c.task_id).filter(_arrival(other.c) < _arrival(me.c)),
        )
        .select_from(
            me.outerjoin(
                other,
                other.c.latest
                & other.c.status.in_(IN_LINE)
                & func.coalesce(other.c.due_at <= func.now(), true())
                & (other.c.resource_class == me.c.resource_class)
                & (other.c.task_id != me.c.task_id)
                & and_(true(), *_stands(other.c, within)),
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
        older=sum(row[4] for row in beside),
    )


def _stands(task: Any, within: Within) -> Iterator[ColumnElement[bool]]:
    """Whether a task of the class is in the line."""
    if within.models is not None:
        yield task.model.in_(sorted(within.models))
    if within.tenant is not None:
        yield task.tenant == within.tenant
    if within.type is not None:
        yield task.type == within.type
    if within.without:
        lanes = [(task_type, tenant, model or "") for task_type, tenant, model in within.without]
        yield tuple_(task.type, task.tenant, func.coalesce(task.model, "")).not_in(lanes)


def _arrival(task: Any) -> ColumnElement[Any]:
    """Order of acceptance; the id decides where the log took two in one millisecond."""
    return tuple_(func.coalesce(task.appended_at, task.created_at), task.task_id)


def _ahead(strategy: str, other: Any, me: Any, seconds: Mapping[Kind, float]) -> ColumnElement[bool]:
    """Whether the strategy starts the other task first; under `fair`, within one tenant."""
    earlier: ColumnElement[bool] = _arrival(other) < _arrival(me)
    match strategy:
        case "priority" | "preemptive" | "fair":
            first: ColumnElement[bool] = (other.priority > me.priority) | ((other.priority == me.priority) & earlier)
            return first
        case "round_robin":
            return _before(_turn(other), _turn(me), earlier)
        case "deadline":
            return _before(func.coalesce(other.deadline_at, _NEVER), func.coalesce(me.deadline_at, _NEVER), earlier)
        case "shortest_job_first":
            return _before(_length(other, seconds), _length(me, seconds), earlier)
        case _:
            return earlier


def _before(other: ColumnElement[Any], me: ColumnElement[Any], earlier: ColumnElement[bool]) -> ColumnElement[bool]:
    """The smaller one, of equal ones the earlier."""
    first: ColumnElement[bool] = (other < me) | ((other == me) & earlier)
    return first


def _length(task: Any, seconds: Mapping[Kind, float]) -> ColumnElement[Any]:
    """The sender's estimate, else what is learned of its kind, else what kinds take that are known."""
    other = statistics.median_low(seconds.values()) if seconds else UNKNOWN_SECONDS
    learned = [
        ((task.type == task_type) & task.model.is_not_distinct_from(model), length)
        for (task_type, model), length in seconds.items()
    ]
    return func.coalesce(task.estimated_seconds, case(*learned, else_=other) if learned else literal(other))


def _turn(task: Any) -> ColumnElement[Any]:
    """When a task last began to wait for a turn.

    Of one that has not started yet, `queued_at` only says when its owner noted that it waits, which is in no order.
    """
    accepted_at = func.coalesce(task.appended_at, task.created_at)
    return case((task.attempt == 0, accepted_at), else_=func.greatest(task.queued_at, accepted_at))
