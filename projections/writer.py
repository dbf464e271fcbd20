"""Writing a batch's changes: rows by COPY into temporary tables and one upsert a table, numbers as differences.

All of it happens in the caller's transaction, which also moves the offsets from where the caller believes them to be.
That move is the guard: a batch that another writer has projected meanwhile changes nothing, it raises.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection, sql

from domain.errors import PenstockError
from projections.anomalies import ANOMALIES, Finding
from projections.attempts import ATTEMPTS
from projections.attempts import row_of as row_of_attempt
from projections.daily_statistics import COUNTERS, Cell
from projections.database import CHANNEL
from projections.fold import Changes
from projections.history import HISTORY
from projections.queue_depth import Depth
from projections.staging import Staging, upsert
from projections.tasks import TASKS, row_of

#: NOTIFY takes fewer than 8000 bytes; a longer list is left out, and its readers look for themselves.
NOTICE_BYTES_MAX = 7000
STAGED = (TASKS, ATTEMPTS, HISTORY)

Partition = tuple[str, int]


class ProjectedElsewhere(PenstockError):
    """Another writer has moved the offsets: what this one believes of the read models is out of date."""


@dataclass(frozen=True, slots=True)
class Move:
    """How far a batch brings one partition."""

    #: None where the partition has never been projected.
    expected: int | None
    next_offset: int
    #: Append time of the batch's last record.
    appended_at: datetime


async def write(
    connection: AsyncConnection, staging: Staging, changes: Changes, moves: Mapping[Partition, Move]
) -> None:
    """Write everything that a batch changes, in the present transaction.

    Raises:
        ProjectedElsewhere: the offsets are not where the caller believes them; roll back.
    """
    await move_offsets(connection, moves)
    if changes.runs:
        await staging.merge(TASKS, _task_rows(changes), _UPSERT_TASKS)
    if changes.attempts:
        rows = (row_of_attempt(key, told.opened, told.closed) for key, told in changes.attempts.items())
        await staging.merge(ATTEMPTS, rows, _OPEN_ATTEMPTS, _CLOSE_ATTEMPTS)
    if changes.history:
        await staging.merge(HISTORY, changes.history.values(), _UPSERT_HISTORY)
    await _add_depths(connection, changes.depths)
    await _add_statistics(connection, changes.statistics)
    await _record_anomalies(connection, changes.anomalies)


async def announce(connection: AsyncConnection, task_ids: Sequence[str]) -> None:
    """Tell listeners, when the present transaction commits, that tasks have ended."""
    if task_ids:
        await connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, notice(task_ids)])


def notice(task_ids: Iterable[str]) -> str:
    """Ids of tasks that have ended, space between them; empty for more than a notification holds."""
    text = " ".join(task_ids)
    return text if len(text.encode()) <= NOTICE_BYTES_MAX else ""


async def move_offsets(connection: AsyncConnection, moves: Mapping[Partition, Move]) -> None:
    """Move the offsets of some partitions.

    Raises:
        ProjectedElsewhere: one is not where it is expected to be.
    """
    begun = {partition: move for partition, move in moves.items() if move.expected is not None}
    updated = await connection.execute(
        "UPDATE projection_offsets AS o SET next_offset = m.next_offset, appended_at = m.appended_at"
        " FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::bigint[], %s::timestamptz[])"
        " AS m (topic, partition, expected, next_offset, appended_at)"
        " WHERE o.topic = m.topic AND o.partition = m.partition AND o.next_offset = m.expected",
        [
            [topic for topic, _ in begun],
            [partition for _, partition in begun],
            [move.expected for move in begun.values()],
            [move.next_offset for move in begun.values()],
            [move.appended_at for move in begun.values()],
        ],
    )
    new = [
        (topic, partition, move.next_offset, move.appended_at)
        for (topic, partition), move in moves.items()
        if move.expected is None
    ]
    inserted = 0
    for row in new:
        cursor = await connection.execute(
            "INSERT INTO projection_offsets (topic, partition, next_offset, appended_at)"
            " VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            row,
        )
        inserted += cursor.rowcount
    if updated.rowcount + inserted != len(moves):
        raise ProjectedElsewhere("the projected offsets have been moved by another writer")


async def note_progress(connection: AsyncConnection, records_behind: int) -> None:
    """Leave a sign of life, with the number of known records that are still to be folded."""
    await connection.execute(
        "INSERT INTO projector_progress (singleton, seen_at, records_behind) VALUES (true, clock_timestamp(), %s)"
        " ON CONFLICT (singleton) DO UPDATE SET seen_at = excluded.seen_at, records_behind = excluded.records_behind",
        [records_behind],
    )


def _task_rows(changes: Changes) -> Iterable[tuple[Any, ...]]:
    for (task_id, number), described in changes.runs.items():
        runs = changes.tasks[task_id]
        yield row_of(runs[number], latest=number == max(runs), with_submission=described)


async def _add_depths(connection: AsyncConnection, depths: Counter[Depth]) -> None:
    rows = [(*depth, count) for depth, count in depths.items() if count]
    if not rows:
        return
    await connection.execute(
        "INSERT INTO queue_depth (resource_class, priority, status, tasks)"
        " SELECT * FROM unnest(%s::text[], %s::smallint[], %s::text[], %s::bigint[])"
        " ON CONFLICT (resource_class, priority, status) DO UPDATE SET tasks = queue_depth.tasks + excluded.tasks",
        [list(column) for column in zip(*rows, strict=True)],
    )
    # A state that nobody is in has no row, however it came about.
    await connection.execute("DELETE FROM queue_depth WHERE tasks = 0")


async def _add_statistics(connection: AsyncConnection, statistics: Counter[Cell]) -> None:
    days: defaultdict[tuple[Any, ...], dict[str, int]] = defaultdict(dict)
    for (*day, counter), number in statistics.items():
        if number:
            days[tuple(day)][counter] = number
    if not days:
        return
    rows = [(*day, *(numbers.get(counter, 0) for counter in COUNTERS)) for day, numbers in days.items()]
    await connection.execute(_ADD_STATISTICS, [list(column) for column in zip(*rows, strict=True)])
    if any(number < 0 for number in statistics.values()):
        await connection.execute(_DELETE_EMPTY_STATISTICS)


async def _record_anomalies(connection: AsyncConnection, anomalies: Sequence[Finding]) -> None:
    for row in anomalies:
        await connection.execute(_INSERT_ANOMALY, row)


def _sql(text: str) -> sql.SQL:
    # Put together from names in this package, never from data.
    return sql.SQL(text)


# Null in the staging table means unchanged, so that large submissions are not written once a fact.
_UPSERT_TASKS = upsert(TASKS, {"submission": "COALESCE(excluded.submission, old.submission)"})
_OPEN_ATTEMPTS = upsert(ATTEMPTS, where="worker IS NOT NULL")
_CLOSE_ATTEMPTS = _sql(
    "UPDATE attempts AS old SET ended_at = new.ended_at, outcome = new.outcome, error_code = new.error_code,"
    " error_detail = new.error_detail, usage = new.usage FROM staged_attempts AS new WHERE new.worker IS NULL"
    " AND (old.task_id, old.run, old.attempt) = (new.task_id, new.run, new.attempt)"
)
# The order of `projections.position`: texts by code point, whatever the database's collation.
_PLACE = '({0}.appended_ms, {0}.topic COLLATE "C", {0}.partition, {0}.offset)'
_EARLIER = f"{_PLACE.format('excluded')} < {_PLACE.format('old')}"
_UPSERT_HISTORY = upsert(
    HISTORY,
    {
        column.name: f'CASE WHEN {_EARLIER} THEN excluded."{column.name}" ELSE old."{column.name}" END'
        for column in HISTORY.columns
    }
    | {"accepted": "old.accepted OR excluded.accepted"},
    # Repeats are common while nothing of them is new.
    when=f"{_EARLIER} OR (excluded.accepted AND NOT old.accepted)",
)
_ADD_STATISTICS = _sql(
    f"INSERT INTO daily_statistics (date, type, tenant, {', '.join(COUNTERS)})"  # noqa: S608 - our own names
    f" SELECT * FROM unnest(%s::date[], %s::text[], %s::text[], {', '.join(['%s::bigint[]'] * len(COUNTERS))})"
    f" ON CONFLICT (date, type, tenant) DO UPDATE SET "
    + ", ".join(f"{name} = daily_statistics.{name} + excluded.{name}" for name in COUNTERS)
)
_DELETE_EMPTY_STATISTICS = _sql(
    f"DELETE FROM daily_statistics WHERE {' AND '.join(f'{name} = 0' for name in COUNTERS)}"  # noqa: S608 - the same
)
_INSERT_ANOMALY = _sql(
    f"INSERT INTO anomalies VALUES ({', '.join(['%s'] * len(ANOMALIES.columns))})"  # noqa: S608 - the same
    " ON CONFLICT DO NOTHING"
)
