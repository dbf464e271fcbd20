"""The queue depth read model: how many tasks are in each state, by resource class and priority."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, SmallInteger, Table, Text, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.states import TaskStatus
from projections.database import METADATA
from projections.offsets import OFFSETS
from projections.runs import Run
from projections.texts import key

#: States of a task that takes up room in its class's queue; held ones wait elsewhere.
QUEUED = frozenset({TaskStatus.SUBMITTED, TaskStatus.QUEUED, TaskStatus.RETRY_SCHEDULED})
#: Class of a task whose submission has not been read, or never was one.
UNKNOWN = "unknown"

QUEUE_DEPTH = Table(
    "queue_depth",
    METADATA,
    Column("resource_class", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("tasks", BigInteger, nullable=False),
    PrimaryKeyConstraint("resource_class", "priority", "status"),
)


class Depth(NamedTuple):
    """What is counted apart."""

    resource_class: str
    priority: int
    status: str


def depth_of(run: Run) -> Depth:
    """Where the latest run of a task is counted."""
    submission = run.state.submission
    if submission is None:
        return Depth(UNKNOWN, 0, run.status)
    return Depth(key(submission.resource_class) or UNKNOWN, stored_priority(run.state.priority) or 0, run.status)


def stored_priority(priority: int | None) -> int | None:
    """A priority, kept within its column whatever a foreign writer asked for."""
    return None if priority is None else max(-1, min(priority, 99))


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits, and up to where the log was read when that was so: one consistent view."""

    #: Tasks that take up room in their queue, by resource class.
    waiting: Mapping[str, int]
    #: The next offset to be projected, by topic and partition.
    projected: Mapping[tuple[str, int], int]


async def queue_depths(connection: AsyncConnection) -> dict[Depth, int]:
    """Number of tasks by class, priority and status; what is not there is zero."""
    rows = await connection.execute(select(QUEUE_DEPTH))
    return {Depth(name, priority, status): count for name, priority, status, count in rows}


async def backlog(connection: AsyncConnection) -> Backlog:
    """Waiting tasks and projected offsets as of one moment."""
    depth, offset = QUEUE_DEPTH.c, OFFSETS.c
    waiting = (
        select(literal(True), depth.resource_class, literal(0), func.sum(depth.tasks))
        .where(depth.status.in_(QUEUED))
        .group_by(depth.resource_class)
    )
    projected = select(literal(False), offset.topic, offset.partition, offset.next_offset)
    # One statement is one snapshot.
    rows = (await connection.execute(waiting.union_all(projected))).all()
    return Backlog(
        {name: int(number) for is_depth, name, _, number in rows if is_depth},
        {(name, partition): int(number) for is_depth, name, partition, number in rows if not is_depth},
    )
