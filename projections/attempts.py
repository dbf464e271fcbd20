"""The attempts read model: who worked on a task, when, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Column, DateTime, PrimaryKeyConstraint, Table, Text, select
from sqlalchemy.ext.asyncio import AsyncConnection

from projections.database import METADATA


class Outcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    #: Handed back at a checkpoint.
    YIELDED = "yielded"
    #: Handed back by its owner.
    RELEASED = "released"
    #: Its owner died, or another owner took over without a word of it.
    LOST = "lost"


ATTEMPTS = Table(
    "attempts",
    METADATA,
    Column("task_id", Text, nullable=False),
    Column("run", BigInteger, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("worker", Text, nullable=False),
    Column("handler_version", BigInteger, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True), comment="null while it runs"),
    Column("outcome", Text),
    Column("error_code", Text),
    Column("error_detail", Text),
    PrimaryKeyConstraint("task_id", "run", "attempt"),
)
_C = ATTEMPTS.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt of a task; attempts count from 1 and go on counting over runs."""

    run: int
    attempt: int
    epoch: int
    worker: str
    handler_version: int
    started_at: datetime
    #: None while it runs.
    ended_at: datetime | None
    outcome: Outcome | None
    error_code: str | None
    error_detail: str | None


async def get_attempts(connection: AsyncConnection, task_id: str) -> list[Attempt]:
    """The attempts of a task, in order."""
    query = select(ATTEMPTS).where(_C.task_id == task_id).order_by(_C.run, _C.attempt)
    return [
        Attempt(
            run=row["run"],
            attempt=row["attempt"],
            epoch=row["epoch"],
            worker=row["worker"],
            handler_version=row["handler_version"],
            started_at=row["started_at"],
            ended_at=row["ended_at"],
            outcome=None if row["outcome"] is None else Outcome(row["outcome"]),
            error_code=row["error_code"],
            error_detail=row["error_detail"],
        )
        for row in (await connection.execute(query)).mappings()
    ]
