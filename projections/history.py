"""The history read model: every fact of every task, once, also those that were without effect."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Integer, Table, Text, Uuid, select
from sqlalchemy.ext.asyncio import AsyncConnection

from projections.database import METADATA
from projections.position import Position
from projections.texts import plain_json
from schemas.envelope import rfc3339
from schemas.events import TASK_EVENTS, Fact, TaskEvent
from schemas.frozen import field_names

HISTORY = Table(
    "history",
    METADATA,
    Column("event_id", Uuid, primary_key=True),
    Column("task_id", Text, nullable=False),
    Column("run", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("accepted", Boolean, nullable=False, comment="false: a stale or impossible fact, without effect"),
    Column("data", Text, nullable=False, comment="JSON text: the fact's small fields"),
    Column("appended_ms", BigInteger, nullable=False),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
)
_C = HISTORY.c
Index("ix_history_task", _C.task_id)


#: Kept with the task and in the log; here they would be a second copy of what may be large.
_LARGE = {"payload", "metadata", "result", "checkpoint", "submission"}
_SMALL = {kind: tuple(sorted(set(field_names(kind)) - set(field_names(Fact)) - _LARGE)) for kind in TASK_EVENTS}


class Line(NamedTuple):
    """One row, in the order of the table's columns."""

    event_id: str
    task_id: str
    run: int
    epoch: int
    sequence: int
    attempt: int
    type: str
    occurred_at: datetime
    accepted: bool
    data: str
    appended_ms: int
    topic: str
    partition: int
    offset: int


def line_of(fact: TaskEvent, position: Position, *, accepted: bool) -> Line:
    """The row of one fact."""
    return Line(
        fact.event_id,
        fact.task_id,
        fact.run,
        fact.epoch,
        fact.sequence,
        fact.attempt,
        fact.TYPE,
        fact.occurred_at,
        accepted,
        _data(fact),
        *position,
    )


def merged(known: Line, other: Line) -> Line:
    """One row for two records of the same fact: the earlier one's, and accepted if either was."""
    accepted = known.accepted or other.accepted
    return min(known, other, key=lambda line: line[-4:])._replace(accepted=accepted)


def _data(fact: TaskEvent) -> str:
    return plain_json({name: _plain(getattr(fact, name)) for name in _SMALL[type(fact)]})


def _plain(value: Any) -> Any:
    return rfc3339(value) if isinstance(value, datetime) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One fact, and where its earliest record lies."""

    event_id: UUID
    type: str
    run: int
    attempt: int
    epoch: int
    #: When its writer decided it.
    at: datetime
    #: Whether it changed the task.
    accepted: bool
    #: JSON text: the fact's small fields; payloads and results are with the task.
    data: str
    topic: str
    partition: int
    offset: int


async def get_history(connection: AsyncConnection, task_id: str) -> list[HistoryEntry]:
    """Every fact of a task, in the order in which the log took them."""
    order = (_C.appended_ms, _C.run, _C.epoch, _C.sequence, _C.topic, _C.partition, _C.offset)
    query = select(HISTORY).where(_C.task_id == task_id).order_by(*order)
    return [
        HistoryEntry(
            event_id=row["event_id"],
            type=row["type"],
            run=row["run"],
            attempt=row["attempt"],
            epoch=row["epoch"],
            at=row["occurred_at"],
            accepted=row["accepted"],
            data=row["data"],
            topic=row["topic"],
            partition=row["partition"],
            offset=row["offset"],
        )
        for row in (await connection.execute(query)).mappings()
    ]
