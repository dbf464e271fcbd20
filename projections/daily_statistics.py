"""The daily statistics read model: what was asked for and what came of it, by day (UTC), task type and tenant."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Date, PrimaryKeyConstraint, Table, Text, select
from sqlalchemy.ext.asyncio import AsyncConnection

from projections.database import METADATA
from projections.runs import MICROSECOND, Run
from projections.texts import key

#: Type and tenant of a run that ended without a readable submission.
UNKNOWN = "unknown"
COUNTERS = (
    "submitted",
    "completed",
    "failed",
    "cancelled",
    "rejected",
    "expired",
    "run_microseconds",
    "wait_microseconds",
)

DAILY_STATISTICS = Table(
    "daily_statistics",
    METADATA,
    Column("date", Date, nullable=False),
    Column("type", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    # Whole microseconds rather than seconds: sums of integers do not depend on the order of adding.
    *(Column(name, BigInteger, nullable=False) for name in COUNTERS),
    PrimaryKeyConstraint("date", "type", "tenant"),
)
_C = DAILY_STATISTICS.c


class Cell(NamedTuple):
    """One number of one day."""

    date: date
    type: str
    tenant: str
    counter: str


def changes(before: Run | None, after: Run) -> Counter[Cell]:
    """What a run's change adds to the statistics; it takes back what a better known submission makes untrue.

    Numbers are a function of the run alone, so duplicates and stale facts, which do not change it, count nothing.
    """
    if before is not None and before.state.submission is after.state.submission and not after.state.terminal:
        return Counter()
    difference = _numbers(after)
    if before is not None:
        difference.subtract(_numbers(before))
    return Counter({cell: number for cell, number in difference.items() if number})


def _numbers(run: Run) -> Counter[Cell]:
    state = run.state
    who = (key(run.type) or UNKNOWN, key(run.tenant) or UNKNOWN)
    numbers: Counter[Cell] = Counter()
    if state.submitted_at is not None:
        numbers[Cell(_day(state.submitted_at), *who, "submitted")] = 1
    if state.terminal and state.finished_at is not None:
        day = _day(state.finished_at)
        numbers[Cell(day, *who, str(state.status))] = 1
        numbers[Cell(day, *who, "run_microseconds")] = run.run_microseconds
        numbers[Cell(day, *who, "wait_microseconds")] = _wait_microseconds(run)
    return numbers


def _wait_microseconds(run: Run) -> int:
    submission = run.state.submission
    if submission is None or run.first_started_at is None:
        return 0
    ready_at = max(submission.occurred_at, submission.run_at or submission.occurred_at)
    return max(0, (run.first_started_at - ready_at) // MICROSECOND)


def _day(at: datetime) -> date:
    return at.astimezone(UTC).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One day of one task type and tenant. Runs are counted: a retry by hand is another one.

    `submitted` counts on the day of submission; everything else on the day on which the run ended.
    """

    date: date
    type: str
    tenant: str
    submitted: int
    completed: int
    failed: int
    cancelled: int
    rejected: int
    expired: int
    #: Time that the attempts of the runs took.
    run_seconds: float
    #: Time from submission, or from `run_at`, to the first start.
    wait_seconds: float


async def daily(
    connection: AsyncConnection, since: date, until: date, *, type: str | None = None, tenant: str | None = None
) -> list[Day]:
    """Days from `since` to `until`, both included, by date, type and tenant."""
    query = select(DAILY_STATISTICS).where(_C.date.between(since, until)).order_by(_C.date, _C.type, _C.tenant)
    if type is not None:
        query = query.where(_C.type == type)
    if tenant is not None:
        query = query.where(_C.tenant == tenant)
    return [
        Day(
            date=row.date,
            type=row.type,
            tenant=row.tenant,
            submitted=row.submitted,
            completed=row.completed,
            failed=row.failed,
            cancelled=row.cancelled,
            rejected=row.rejected,
            expired=row.expired,
            run_seconds=row.run_microseconds / 1e6,
            wait_seconds=row.wait_microseconds / 1e6,
        )
        for row in await connection.execute(query)
    ]
