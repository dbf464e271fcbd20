"""How far the log has been folded, written in the same transaction as what it was folded into."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Integer, PrimaryKeyConstraint, Table, Text, select
from sqlalchemy.ext.asyncio import AsyncConnection

from projections.database import METADATA

OFFSETS = Table(
    "projection_offsets",
    METADATA,
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("appended_at", DateTime(timezone=True), nullable=False, comment="append time of the last record folded"),
    PrimaryKeyConstraint("topic", "partition"),
)

PROGRESS = Table(
    "projector_progress",
    METADATA,
    Column("singleton", Boolean, primary_key=True, comment="always true: one row"),
    Column("seen_at", DateTime(timezone=True), nullable=False, comment="last sign of life of the projector"),
    Column("records_behind", BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Progress:
    """The projector's last sign of life."""

    seen_at: datetime
    #: Records that it knew of and had not folded.
    records_behind: int


async def watermark(connection: AsyncConnection) -> dict[tuple[str, int], int]:
    """The next offset to be folded, by topic and partition; partitions without a row have not been begun."""
    query = select(OFFSETS.c.topic, OFFSETS.c.partition, OFFSETS.c.next_offset)
    return {(topic, partition): offset for topic, partition, offset in await connection.execute(query)}


async def progress(connection: AsyncConnection) -> Progress | None:
    """The projector's last sign of life, at most some seconds old while it runs; None before its first."""
    row = (await connection.execute(select(PROGRESS.c.seen_at, PROGRESS.c.records_behind))).one_or_none()
    return None if row is None else Progress(row.seen_at, row.records_behind)
