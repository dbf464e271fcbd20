"""Writing a batch's changes: rows as upserts, numbers as differences, all of it by one statement.

It is part of the caller's transaction, and also moves the offsets from where the caller believes them to be. That move
is the guard: a batch that another writer has projected meanwhile changes nothing, it raises.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection, sql

from domain.errors import PenstockError
from projections import staging
from projections.anomalies import ANOMALIES, Finding
from projections.attempts import ATTEMPTS
from projections.attempts import row_of as row_of_attempt
from projections.daily_statistics import COUNTERS, Cell
from projections.database import CHANNEL
from projections.fold import Changes
from projections.history import HISTORY
from projections.queue_depth import Depth
from projections.staging import as_json, from_json, upsert
from projections.tasks import TASKS, row_of

#: NOTIFY takes fewer than 8000 bytes; a longer list is left out, and its readers look for themselves.
NOTICE_BYTES_MAX = 7000
STAGED = (TASKS, ATTEMPTS, HISTORY)
#: Batches of no more facts and bytes are written without the temporary tables; beyond, COPY costs less.
FEW_FACTS = 50
FEW_BYTES = 256 * 1024

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
    connection: AsyncConnection,
    changes: Changes,
    moves: Mapping[Partition, Move],
    *,
    few: bool,
    schema_id: int,
    records_behind: int,
    tells: bool,
) -> None:
    """Write everything that a batch changes, in the present transaction; if it `tells`, its ends are told at commit.

    Raises:
        ProjectedElsewhere: schema or offsets are not those that the caller believes in; roll back.
    """
    rows = {
        TASKS.name: _task_rows(changes),
        ATTEMPTS.name: [row_of_attempt(key, told.opened, told.closed) for key, told in changes.attempts.items()],
        HISTORY.name: changes.history.values(),
    }
    parameters = {
        "moves": as_json(
            ("topic", "partition", "expected", "next_offset", "appended_at"),
            [(*partition, move.expected, move.next_offset, move.appended_at) for partition, move in moves.items()],
        ),
        "depths": as_json((*Depth._fields, "tasks"), [(*depth, n) for depth, n in changes.depths.items() if n]),
        "statistics": _statistics(changes.statistics),
        "behind": records_behind,
        "notice": notice(changes.ended) if tells and changes.ended else None,
    }
    for table in STAGED:
        if few:
            parameters[table.name] = as_json(table.columns.keys(), rows[table.name])
        elif rows[table.name]:
            await staging.copy(connection, table, rows[table.name])
    cursor = await connection.execute(_WRITE_FEW if few else _WRITE_MANY, parameters)
    row = await cursor.fetchone()
    if row is None or row[:2] != (schema_id, len(moves)):
        raise ProjectedElsewhere("the read models have been exchanged, or their offsets moved, by another writer")
    if any(number < 0 for number in changes.statistics.values()):
        await connection.execute(_DELETE_EMPTY_STATISTICS)
    await _record_anomalies(connection, changes.anomalies)


def are_few(records: Sequence[bytes]) -> bool:
    """Whether the facts of these records cost less as JSON within the statement than by COPY."""
    return len(records) <= FEW_FACTS and sum(map(len, records)) <= FEW_BYTES


def notice(task_ids: Iterable[str]) -> str:
    """Ids of tasks that have ended, space between them; empty for more than a notification holds."""
    text = " ".join(task_ids)
    return text if len(text.encode()) <= NOTICE_BYTES_MAX else ""


async def note_progress(connection: AsyncConnection, records_behind: int) -> None:
    """Leave a sign of life, with the number of known records that are still to be folded."""
    await connection.execute(_sql(_NOTE_PROGRESS), {"behind": records_behind})


def _task_rows(changes: Changes) -> list[tuple[Any, ...]]:
    rows = []
    for (task_id, number), described in changes.runs.items():
        runs = changes.tasks[task_id]
        rows.append(row_of(runs[number], latest=number == max(runs), with_submission=described))
    return rows


def _statistics(statistics: Counter[Cell]) -> str:
    days: defaultdict[tuple[Any, ...], dict[str, int]] = defaultdict(dict)
    for (*day, counter), number in statistics.items():
        if number:
            days[tuple(day)][counter] = number
    rows = [(*day, *(numbers.get(counter, 0) for counter in COUNTERS)) for day, numbers in days.items()]
    return as_json(("date", "type", "tenant", *COUNTERS), rows)


async def _record_anomalies(connection: AsyncConnection, anomalies: Sequence[Finding]) -> None:
    for row in anomalies:
        await connection.execute(_INSERT_ANOMALY, row)


def _sql(text: str) -> sql.SQL:
    # Put together from names in this package, never from data.
    return sql.SQL(text)


# A conflict with what another writer has inserted meanwhile is no match either: nothing is expected then.
_MOVE_OFFSETS = """
    INSERT INTO projection_offsets AS old (topic, partition, next_offset, appended_at)
    SELECT topic, partition, next_offset, appended_at FROM moves
    ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset, appended_at = excluded.appended_at
    WHERE old.next_offset =
        (SELECT expected FROM moves WHERE (moves.topic, moves.partition) = (old.topic, old.partition))
    RETURNING 1"""
_NOTE_PROGRESS = """
    INSERT INTO projector_progress (singleton, seen_at, records_behind) VALUES (true, clock_timestamp(), %(behind)s)
    ON CONFLICT (singleton) DO UPDATE SET seen_at = excluded.seen_at, records_behind = excluded.records_behind"""
# Null in the staged row means unchanged, so that large submissions are not written once a fact.
_UPSERT_TASKS = upsert(TASKS, {"submission": "COALESCE(excluded.submission, old.submission)"})
_OPEN_ATTEMPTS = upsert(ATTEMPTS, where="worker IS NOT NULL")
_CLOSE_ATTEMPTS = """
    UPDATE attempts AS old SET ended_at = new.ended_at, outcome = new.outcome, error_code = new.error_code,
    error_detail = new.error_detail, usage = new.usage FROM staged_attempts AS new WHERE new.worker IS NULL
    AND (old.task_id, old.run, old.attempt) = (new.task_id, new.run, new.attempt)"""
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
# A state that nobody is in has no row, however it came about.
_EMPTIED = "(resource_class, priority, status) IN (SELECT resource_class, priority, status FROM emptied)"
_ADD_DEPTHS = f"""
    INSERT INTO queue_depth (resource_class, priority, status, tasks)
    SELECT resource_class, priority, status, tasks FROM depths WHERE NOT {_EMPTIED}
    ON CONFLICT (resource_class, priority, status) DO UPDATE SET tasks = queue_depth.tasks + excluded.tasks"""  # noqa: S608 - our own names
_ADD_STATISTICS = f"""
    INSERT INTO daily_statistics (date, type, tenant, {", ".join(COUNTERS)})
    SELECT date, type, tenant, {", ".join(COUNTERS)}
    FROM json_populate_recordset(null::daily_statistics, %(statistics)s)
    ON CONFLICT (date, type, tenant) DO UPDATE SET
    {", ".join(f"{name} = daily_statistics.{name} + excluded.{name}" for name in COUNTERS)}"""  # noqa: S608 - the same
_DELETE_EMPTY_STATISTICS = _sql(
    f"DELETE FROM daily_statistics WHERE {' AND '.join(f'{name} = 0' for name in COUNTERS)}"  # noqa: S608 - the same
)
_INSERT_ANOMALY = _sql(
    f"INSERT INTO anomalies VALUES ({', '.join(['%s'] * len(ANOMALIES.columns))})"  # noqa: S608 - the same
    " ON CONFLICT DO NOTHING"
)
# Every part sees the tables as they were before, and no two of them write to the same row.
_WRITE = f"""
    moves AS (SELECT * FROM json_to_recordset(%(moves)s) AS each
        (topic text, partition int, expected bigint, next_offset bigint, appended_at timestamptz)),
    moved AS ({_MOVE_OFFSETS}),
    noted AS ({_NOTE_PROGRESS}),
    tasks_written AS ({_UPSERT_TASKS}),
    attempts_opened AS ({_OPEN_ATTEMPTS}),
    attempts_closed AS ({_CLOSE_ATTEMPTS}),
    history_written AS ({_UPSERT_HISTORY}),
    depths AS (SELECT * FROM json_populate_recordset(null::queue_depth, %(depths)s)),
    emptied AS (DELETE FROM queue_depth AS old USING depths AS new
        WHERE (old.resource_class, old.priority, old.status) = (new.resource_class, new.priority, new.status)
        AND old.tasks + new.tasks = 0 RETURNING old.resource_class, old.priority, old.status),
    depths_added AS ({_ADD_DEPTHS}),
    statistics_added AS ({_ADD_STATISTICS})
    SELECT (SELECT oid::bigint FROM pg_namespace WHERE nspname = current_schema()), (SELECT count(*) FROM moved),
    (SELECT pg_notify('{CHANNEL}', text) FROM (SELECT %(notice)s::text) AS notice (text) WHERE text IS NOT NULL)"""  # noqa: S608 - the same
_WRITE_MANY = _sql(f"WITH {_WRITE}")
_WRITE_FEW = _sql(f"WITH {', '.join(map(from_json, STAGED))}, {_WRITE}")
