"""The tasks read model: what is known of each run of each task; the latest run is the task that callers see."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Double,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    func,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.states import WAITING, TaskStatus
from domain.task import TaskState
from projections.database import METADATA
from projections.position import Position
from projections.queue_depth import QUEUE_DEPTH, stored_priority
from projections.runs import Run
from projections.texts import key, storable
from schemas.codec import decode
from schemas.events import TaskSubmitted

#: To the outside, a task that still has to start.
PENDING = "pending"
TIME = DateTime(timezone=True)

TASKS = Table(
    "tasks",
    METADATA,
    Column("task_id", Text, nullable=False),
    Column("run", BigInteger, nullable=False),
    Column("latest", Boolean, nullable=False, comment="no later run of the task is known"),
    Column("status", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("type", Text, comment="null while only later facts have been read"),
    Column("tenant", Text),
    Column("resource_class", Text),
    Column("priority", SmallInteger),
    Column("model", Text),
    Column("attempt", BigInteger, nullable=False),
    Column("attempts_returned", BigInteger, nullable=False),
    Column("attempts_lost", BigInteger, nullable=False),
    Column("running_attempt", BigInteger, comment="the attempt that occupies a slot now"),
    Column("due_at", TIME, comment="when a retry, what a provider refused, or held work may go on"),
    Column("hold_reason", Text),
    Column("held_at", TIME, comment="when the log took the hold"),
    Column("appended_at", TIME, comment="when the log last took the submission on a class topic"),
    Column("checkpoint", Text),
    Column("result", Text, comment="JSON text"),
    Column("error_code", Text),
    Column("error_detail", Text),
    Column("created_at", TIME, nullable=False, comment="submission, or the first fact where none is known"),
    Column("submitted_at", TIME),
    Column("queued_at", TIME),
    Column("first_started_at", TIME),
    Column("started_at", TIME, comment="start of the latest attempt"),
    Column("finished_at", TIME),
    Column("run_microseconds", BigInteger, nullable=False, comment="time that ended attempts took"),
    Column("submission", LargeBinary, comment="TaskSubmitted as appended: Avro single-object encoding"),
    Column("submission_ms", BigInteger, comment="place of the submission in the log: append time"),
    Column("submission_topic", Text),
    Column("submission_partition", BigInteger),
    Column("submission_offset", BigInteger),
    Column("routing_key", Text, comment="as submitted, or as routed since"),
    Column("routed_to", ARRAY(Text), comment="models that it was routed to, in order; null for none"),
    Column("deadline_at", TIME),
    Column("depends_on", ARRAY(Text), comment="tasks that must have ended first; null for none"),
    Column("on_dependency_failure", Text, comment="fail, continue or fail_fast; null without submission"),
    Column("workflow_id", Text),
    Column("schedule_id", Text),
    Column("estimated_seconds", Double, comment="how long one attempt takes, as its sender says"),
    Column("changed_priority", SmallInteger, comment="given to it since its submission; null for none"),
    Column("attempts_refused", BigInteger, nullable=False, comment="those returned because a provider refused them"),
    Column("refused_since_at", TIME, comment="when a provider first refused the run"),
    Column("wait_began_at", TIME, comment="when its latest attempt left it to wait again"),
    Column("first_held_at", TIME, comment="when it was first held since it waits"),
    PrimaryKeyConstraint("task_id", "run"),
)
_C = TASKS.c
Index("ix_tasks_created", _C.created_at, _C.task_id, postgresql_where=text("latest"))
Index("ix_tasks_status", _C.status, _C.created_at, postgresql_where=text("latest"))
Index("ix_tasks_type", _C.type, _C.created_at, postgresql_where=text("latest"))
Index("ix_tasks_tenant", _C.tenant, _C.created_at, postgresql_where=text("latest"))
Index("ix_tasks_workflow", _C.workflow_id, postgresql_where=text("latest AND workflow_id IS NOT NULL"))
Index("ix_tasks_schedule", _C.schedule_id, _C.task_id, postgresql_where=text("schedule_id IS NOT NULL"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """One run of a task as readers see it. Times are aware UTC."""

    #: What the facts add up to, as the rules know it: status, attempt, times, result, error, submission.
    state: TaskState
    #: The submission as it lies in the log, to append it again; None while only later facts have been read.
    submission_bytes: bytes | None
    #: Of the submission, or what could be read of a rejected one.
    type: str | None
    tenant: str | None
    hold_reason: str | None
    created_at: datetime
    first_started_at: datetime | None

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self.state.task_id

    @property
    def status(self) -> TaskStatus:
        """What the task waits for."""
        assert self.state.status is not None, "a row exists only after a fact"
        return self.state.status

    @property
    def submission(self) -> TaskSubmitted | None:
        """What was asked: payload, metadata, priority, model, limits."""
        return self.state.submission


def statuses_of(name: str) -> frozenset[TaskStatus]:
    """The states that a filter means: one state, or `pending` for all that still have to start.

    Raises:
        ValueError: no state has that name.
    """
    return WAITING if name == PENDING else frozenset({TaskStatus(name)})


def state_of(row: Mapping[Any, Any]) -> TaskState:
    """The state that a row was written from."""
    submission = decode(row["submission"]) if row["submission"] is not None else None
    assert submission is None or isinstance(submission, TaskSubmitted), "the column holds submissions only"
    return TaskState(
        task_id=row["task_id"],
        priority=row["priority"],
        model=row["model"],
        routing_key=row["routing_key"],
        routed_to=tuple(row["routed_to"] or ()),
        status=TaskStatus(row["status"]),
        run=row["run"],
        epoch=row["epoch"],
        sequence=row["sequence"],
        attempt=row["attempt"],
        attempts_returned=row["attempts_returned"],
        attempts_lost=row["attempts_lost"],
        attempts_refused=row["attempts_refused"],
        refused_since_at=row["refused_since_at"],
        wait_began_at=row["wait_began_at"],
        first_held_at=row["first_held_at"],
        submission=submission,
        due_at=row["due_at"],
        checkpoint=row["checkpoint"],
        result=row["result"],
        error_code=row["error_code"],
        error_detail=row["error_detail"],
        submitted_at=row["submitted_at"],
        queued_at=row["queued_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )


def run_of(row: Mapping[Any, Any]) -> Run:
    """The run that a row was written from."""
    position = None
    if row["submission"] is not None:
        position = Position(*(row[f"submission_{part}"] for part in ("ms", "topic", "partition", "offset")))
    return Run(
        state=state_of(row),
        created_at=row["created_at"],
        submission_bytes=row["submission"],
        submission_position=position,
        type=row["type"],
        tenant=row["tenant"],
        hold_reason=row["hold_reason"],
        held_at=row["held_at"],
        appended_at=row["appended_at"],
        first_started_at=row["first_started_at"],
        running_attempt=row["running_attempt"],
        run_microseconds=row["run_microseconds"],
        changed_priority=row["changed_priority"],
    )


def row_of(run: Run, *, latest: bool, with_submission: bool = True) -> tuple[Any, ...]:
    """The row of a run, in the order of the table's columns."""
    state, submission = run.state, run.state.submission
    return (
        state.task_id,
        state.run,
        latest,
        str(state.status),
        state.epoch,
        state.sequence,
        key(run.type),
        key(run.tenant),
        None if submission is None else key(submission.resource_class),
        stored_priority(state.priority),
        storable(state.model),
        state.attempt,
        state.attempts_returned,
        state.attempts_lost,
        run.running_attempt,
        state.due_at,
        storable(run.hold_reason),
        run.held_at,
        run.appended_at,
        storable(state.checkpoint),
        storable(state.result),
        storable(state.error_code),
        storable(state.error_detail),
        run.created_at,
        state.submitted_at,
        state.queued_at,
        run.first_started_at,
        state.started_at,
        state.finished_at,
        run.run_microseconds,
        run.submission_bytes if with_submission else None,
        *(run.submission_position or (None, None, None, None)),
        storable(state.routing_key),
        list(map(storable, state.routed_to)) or None,
        *((None,) * 6 if submission is None else _relations(submission)),
        stored_priority(run.changed_priority),
        state.attempts_refused,
        state.refused_since_at,
        state.wait_began_at,
        state.first_held_at,
    )


def _relations(submission: TaskSubmitted) -> tuple[Any, ...]:
    return (
        submission.deadline_at,
        list(map(key, submission.depends_on)) or None,
        key(submission.on_dependency_failure),
        key(submission.workflow_id),
        key(submission.schedule_id),
        _finite(submission.estimated_seconds),
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _view(row: Mapping[Any, Any]) -> TaskView:
    return TaskView(
        state=state_of(row),
        submission_bytes=row["submission"],
        type=row["type"],
        tenant=row["tenant"],
        hold_reason=row["hold_reason"],
        created_at=row["created_at"],
        first_started_at=row["first_started_at"],
    )


async def get_task(connection: AsyncConnection, task_id: str) -> TaskView | None:
    """The latest run of a task; None where no fact of it has been projected."""
    found = await get_tasks(connection, [task_id])
    return found.get(task_id)


async def get_tasks(connection: AsyncConnection, task_ids: Collection[str]) -> dict[str, TaskView]:
    """The latest runs of several tasks, by id; unknown ones are left out."""
    query = select(TASKS).where(_any_of(task_ids), _C.latest)
    return {row["task_id"]: _view(row) for row in (await connection.execute(query)).mappings()}


async def get_run(connection: AsyncConnection, task_id: str, run: int) -> TaskView | None:
    """One run of a task, also one that a later run has replaced."""
    query = select(TASKS).where(_C.task_id == task_id, _C.run == run)
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else _view(row)


async def get_statuses(connection: AsyncConnection, task_ids: Collection[str]) -> dict[str, TaskStatus]:
    """Status of each known task among the ids."""
    query = select(_C.task_id, _C.status).where(_any_of(task_ids), _C.latest)
    return {task_id: TaskStatus(status) for task_id, status in await connection.execute(query)}


async def known_task_ids(connection: AsyncConnection, task_ids: Collection[str]) -> set[str]:
    """Those of the ids of which any fact has been projected."""
    query = select(_C.task_id).distinct().where(_any_of(task_ids))
    return set((await connection.execute(query)).scalars())


async def list_tasks(
    connection: AsyncConnection,
    *,
    page: int = 1,
    page_size: int = 50,
    status: str | Iterable[str] | None = None,
    type: str | None = None,
    tenant: str | None = None,
) -> tuple[list[TaskView], int]:
    """One page of the tasks that match, the newest first, and how many match in all. Pages count from 1.

    Raises:
        ValueError: `status` names no state; see `statuses_of`.
    """
    names = [status] if isinstance(status, str) else status
    statuses = None if names is None else sorted({each for name in names for each in statuses_of(name)})
    matches: list[ColumnElement[bool]] = [_C.latest]
    if statuses is not None:
        matches.append(_C.status.in_(statuses))
    if type is not None:
        matches.append(_C.type == type)
    if tenant is not None:
        matches.append(_C.tenant == tenant)
    query = (
        select(TASKS)
        .where(*matches)
        .order_by(_C.created_at.desc(), _C.task_id.desc())
        .limit(page_size)
        .offset((page - 1) * page_size)
    )
    tasks = [_view(row) for row in (await connection.execute(query)).mappings()]
    if type is None and tenant is None:
        return tasks, await _count_by_status(connection, statuses)
    return tasks, (await connection.execute(select(func.count()).select_from(TASKS).where(*matches))).scalar_one()


async def _count_by_status(connection: AsyncConnection, statuses: Iterable[str] | None) -> int:
    """Added up from the queue depths, since counting every task takes long once there are millions."""
    query = select(func.coalesce(func.sum(QUEUE_DEPTH.c.tasks), 0))
    if statuses is not None:
        query = query.where(QUEUE_DEPTH.c.status.in_(statuses))
    return int((await connection.execute(query)).scalar_one())


def _any_of(task_ids: Collection[str]) -> ColumnElement[bool]:
    # One array parameter: the statement stays the same however many ids there are.
    return _C.task_id == func.any(list(task_ids))
