"""The projector's writes on a real PostgreSQL: the same rows as the fold in memory says."""

from __future__ import annotations

import random
from typing import Any

import psycopg
import pytest
from sqlalchemy import select

from projections import writer
from projections.attempts import ATTEMPTS, get_attempts, row_of
from projections.daily_statistics import DAILY_STATISTICS
from projections.database import CHANNEL, SCHEMA, connect, open_engine, reading
from projections.history import HISTORY, get_history
from projections.migrate import migrate
from projections.offsets import progress, watermark
from projections.projector import Projector
from projections.queue_depth import QUEUE_DEPTH
from projections.tasks import TASKS
from projections.writer import ProjectedElsewhere
from tests.support.logs import Log, lives, polled, split, submission
from tests.support.tables import Tables, projected

pytestmark = pytest.mark.external_service


async def tables_of(database: str) -> dict[str, dict[Any, Any]]:
    """Every row that the fold determines, by key."""
    engine = open_engine(database)
    async with reading(engine) as reader:
        tasks = (await reader.execute(select(TASKS))).all()
        attempts = (await reader.execute(select(ATTEMPTS))).all()
        history = (await reader.execute(select(HISTORY))).all()
        depths = (await reader.execute(select(QUEUE_DEPTH))).all()
        days = (await reader.execute(select(DAILY_STATISTICS))).mappings().all()
    await engine.dispose()
    numbers = {
        (day["date"], day["type"], day["tenant"], name): day[name]
        for day in days
        for name in day
        if name not in ("date", "type", "tenant") and day[name]
    }
    return {
        "tasks": {tuple(row[:2]): tuple(row) for row in tasks},
        "attempts": {tuple(row[:3]): tuple(row[3:]) for row in attempts},
        "history": {str(row.event_id): tuple(row[1:]) for row in history},
        "queue_depth": {tuple(row[:3]): row[3] for row in depths},
        "daily_statistics": numbers,
    }


def in_memory(tables: Tables) -> dict[str, dict[Any, Any]]:
    rows = tables.rows()
    return {
        "tasks": dict(rows["tasks"]),
        "attempts": {key: row_of(key, opened, closed)[3:] for key, (opened, closed) in rows["attempts"].items()},
        "history": {key: tuple(line[1:]) for key, line in rows["history"].items()},
        "queue_depth": {tuple(key): count for key, count in rows["queue_depth"].items()},
        "daily_statistics": {tuple(cell): count for cell, count in rows["daily_statistics"].items()},
    }


@pytest.mark.parametrize("few", [0, writer.FEW_FACTS], ids=["by COPY", "as JSON"])
@pytest.mark.parametrize("seed", range(4))
async def test_rows_equal_the_fold_in_memory(
    seed: int, few: int, database: str, connection: psycopg.AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "FEW_FACTS", few)
    log, chance = lives(seed, tasks=8, steps=160), random.Random(seed)
    for batch in split(log.shuffled(chance), chance):
        # Opened anew each time, so that states come from the tables as well as from memory.
        projector = await Projector.open(connection)
        for half in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
            await projector.apply(polled(half))
    expected, actual = in_memory(projected([log.in_order()])), await tables_of(database)
    for table, rows in expected.items():
        assert actual[table] == rows, table
    assert projector.offsets == {key: len(records) for key, records in log.partitions.items()}


async def test_offsets_moved_by_another_writer_stop_a_batch(database: str, connection: psycopg.AsyncConnection) -> None:
    log = Log()
    first = polled([log.append(submission())])
    slow = await Projector.open(connection)
    async with await connect(database, autocommit=True) as other:
        await (await Projector.open(other)).apply(first)
    with pytest.raises(ProjectedElsewhere):
        await slow.apply(first)
    engine = open_engine(database)
    async with reading(engine) as reader:
        assert await watermark(reader) == {("tasks-cpu-normal", sum(b"t-1") % 2): 1}
        assert len(await get_history(reader, "t-1")) == 1
    await engine.dispose()


async def test_exchanged_read_models_stop_a_batch(database: str, connection: psycopg.AsyncConnection) -> None:
    log = Log()
    first, second = log.append(submission()), log.append(submission())
    slow = await Projector.open(connection)
    await slow.apply(polled([first]))
    async with await connect(database, autocommit=True) as other:
        await other.execute(f"ALTER SCHEMA {SCHEMA} RENAME TO replaced")
        await migrate(database)
        # The other one stands where this one believes itself to be.
        await (await Projector.open(other)).apply(polled([first]))
        with pytest.raises(ProjectedElsewhere):
            await slow.apply(polled([second]))
        rows = await other.execute("SELECT next_offset FROM projection_offsets")
        assert await rows.fetchall() == [(1,)]
    await (await Projector.open(connection)).apply(polled([second]))


async def test_ends_are_told_to_listeners_and_progress_to_readers(
    database: str, connection: psycopg.AsyncConnection
) -> None:
    log = lives(2, tasks=4, steps=60)
    async with await connect(database, autocommit=True) as listener:
        await listener.execute(f"LISTEN {CHANNEL}")
        changes = await (await Projector.open(connection)).apply(polled(log.in_order()), records_behind=3)
        told = [notice.payload async for notice in listener.notifies(timeout=5, stop_after=1)]
    assert changes.ended
    assert told == [" ".join(changes.ended)]
    engine = open_engine(database)
    async with reading(engine) as reader:
        seen = await progress(reader)
        assert await get_attempts(reader, changes.ended[0])
    await engine.dispose()
    assert seen is not None
    assert seen.records_behind == 3


async def test_records_that_cannot_be_folded_are_kept_as_anomalies(
    database: str, connection: psycopg.AsyncConnection
) -> None:
    batch = polled([Log().append(submission())])
    (records,) = batch.values()
    records[0].value = b"nonsense"
    await (await Projector.open(connection)).apply(batch)
    row = await (await connection.execute("SELECT topic, reason, event_id FROM anomalies")).fetchone()
    assert row is not None
    assert row[0] == "tasks-cpu-normal"
    assert "c301" in row[1]
    assert row[2] is None
