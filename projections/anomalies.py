"""The anomalies read model: records that the projections could not fold. For operators: a bug, or a foreign writer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import BigInteger, Column, DateTime, Integer, PrimaryKeyConstraint, Table, Text, Uuid, select
from sqlalchemy.ext.asyncio import AsyncConnection

from projections.database import METADATA
from projections.position import Position
from projections.texts import key, storable
from schemas.events import TaskEvent

ANOMALIES = Table(
    "anomalies",
    METADATA,
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("appended_at", DateTime(timezone=True), nullable=False),
    Column("event_id", Uuid, comment="null where the record could not be read"),
    Column("task_id", Text),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("topic", "partition", "offset"),
)
_C = ANOMALIES.c


class Finding(NamedTuple):
    """One row, in the order of the table's columns."""

    topic: str
    partition: int
    offset: int
    appended_at: datetime
    event_id: str | None
    task_id: str | None
    reason: str


def finding(position: Position, reason: str, fact: TaskEvent | None = None) -> Finding:
    """The row of a record that was left out."""
    return Finding(
        position.topic,
        position.partition,
        position.offset,
        position.appended_at,
        None if fact is None else fact.event_id,
        None if fact is None else key(fact.task_id),
        storable(reason) or "",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """One record that was left out, where it lies, and why."""

    topic: str
    partition: int
    offset: int
    appended_at: datetime
    task_id: str | None
    reason: str


async def latest_anomalies(connection: AsyncConnection, limit: int = 100) -> list[Anomaly]:
    """The most recent anomalies, the newest first."""
    query = select(ANOMALIES).order_by(_C.appended_at.desc(), _C.topic, _C.partition, _C.offset).limit(limit)
    return [
        Anomaly(
            topic=row["topic"],
            partition=row["partition"],
            offset=row["offset"],
            appended_at=row["appended_at"],
            task_id=row["task_id"],
            reason=row["reason"],
        )
        for row in (await connection.execute(query)).mappings()
    ]
