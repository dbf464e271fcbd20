"""Rebuilding and verifying read models while they are in use."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from projections.database import connect, reading
from projections.locks import Lock, acquire
from projections.offsets import watermark
from projections.rebuild import MaintenanceRunning, RebuildConfig, rebuild, verify
from projections.recorded import LogTooShort, recorded
from projections.runner import ProjectorConfig
from projections.tasks import get_statuses
from streams.log import EventLog
from streams.topics import recorded_topics
from tests.support.logs import lives
from tests.support.projecting import eventually, projecting

pytestmark = pytest.mark.external_service


@pytest.fixture
async def log_of_lives(log: EventLog, resource_class: str, kafka: str) -> list[str]:
    """Ids of tasks whose odd lives are on the real log."""
    written = lives(11, tasks=10, steps=200, resource_class=resource_class, prefix=resource_class)
    futures = [
        await log.append(each.position.topic, each.record, each.fact.task_id.encode(), [])
        for each in written.in_order()
    ]
    await log.all_acknowledged(futures)
    return sorted({each.fact.task_id for each in written.in_order()})


async def projected(engine: AsyncEngine, config: ProjectorConfig) -> None:
    """Wait until everything is in the tables that is on the log."""
    async with recorded(config.bootstrap_servers, recorded_topics(config.classes), {}) as consumer:
        ends = await consumer.end_offsets(list(consumer.assignment()))

    async def holds(connection: AsyncConnection) -> bool:
        found = await watermark(connection)
        return all(found.get((key.topic, key.partition), 0) >= end for key, end in ends.items())

    await eventually(engine, holds)


async def schemas(connection: psycopg.AsyncConnection) -> list[str]:
    rows = await connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'penstock%' ORDER BY 1")
    return [name for (name,) in await rows.fetchall()]


async def test_a_live_system_verifies(
    config: ProjectorConfig,
    engine: AsyncEngine,
    maintenance: RebuildConfig,
    log_of_lives: list[str],
    connection: psycopg.AsyncConnection,
) -> None:
    async with projecting(config):
        await projected(engine, config)
        verification = await verify(maintenance)
    assert verification.matches, list(verification.lines())
    assert verification.records >= 100
    assert {table.table for table in verification.tables} >= {"tasks", "attempts", "history", "queue_depth"}
    assert await schemas(connection) == ["penstock"]


async def test_verification_says_where_tables_differ(
    config: ProjectorConfig,
    engine: AsyncEngine,
    maintenance: RebuildConfig,
    log_of_lives: list[str],
    connection: psycopg.AsyncConnection,
) -> None:
    async with projecting(config):
        await projected(engine, config)
    changed, missing, *_ = log_of_lives
    await connection.execute("UPDATE tasks SET result = 'forged' WHERE task_id = %s AND latest", [changed])
    await connection.execute("DELETE FROM history WHERE task_id = %s AND type = 'task.submitted'", [missing])
    verification = await verify(maintenance)
    assert not verification.matches
    reports = {table.table: table for table in verification.tables if table.differs}
    assert set(reports) == {"tasks", "history"}
    (found,) = reports["tasks"].differences
    assert (found.key[0], found.column, found.live) == (changed, "result", "'forged'")
    assert {(each.column, each.live, each.rebuilt) for each in reports["history"].differences} == {
        (None, "missing", "there")
    }
    assert any("forged" in line for line in verification.lines())


async def test_a_rebuild_mends_the_tables_under_a_running_projector_and_its_readers(
    config: ProjectorConfig,
    engine: AsyncEngine,
    maintenance: RebuildConfig,
    log_of_lives: list[str],
    connection: psycopg.AsyncConnection,
    log: EventLog,
) -> None:
    async with projecting(config):
        await projected(engine, config)
        await connection.execute("UPDATE tasks SET result = 'forged' WHERE task_id = %s", [log_of_lives[0]])
        done = asyncio.Event()
        reader = asyncio.create_task(_read_until(done, engine, log_of_lives))
        told: list[int] = []
        result = await rebuild(maintenance, told.append)
        done.set()
        assert await reader > 0
        assert told[-1] == result.records >= 100
        later = lives(12, tasks=2, steps=20, resource_class=config.classes[0], prefix=f"{config.classes[0]}-later")
        for each in later.in_order():
            await log.acknowledged(await log.append(each.position.topic, each.record, each.fact.task_id.encode(), []))
        await projected(engine, config)
        verification = await verify(maintenance)
    assert verification.matches, list(verification.lines())
    assert await schemas(connection) == ["penstock"]


async def _read_until(done: asyncio.Event, engine: AsyncEngine, task_ids: list[str]) -> int:
    """Read all tasks again and again; at no moment may one be missing."""
    count = 0
    while not done.is_set():
        async with reading(engine) as connection:
            assert len(await get_statuses(connection, task_ids)) == len(task_ids)
        count += 1
    return count


async def test_only_one_at_a_time(maintenance: RebuildConfig, connection: psycopg.AsyncConnection) -> None:
    await acquire(connection, Lock.MAINTENANCE)
    for operation in (rebuild, verify):
        with pytest.raises(MaintenanceRunning):
            await operation(maintenance)
    assert await schemas(connection) == ["penstock"]


async def test_a_rebuild_that_fails_leaves_the_live_tables_and_no_scratch(
    maintenance: RebuildConfig, connection: psycopg.AsyncConnection
) -> None:
    def told(_: int) -> None:
        raise RuntimeError("stopped half way")

    await connection.execute(
        "INSERT INTO queue_depth (resource_class, priority, status, tasks) VALUES ('mark', 1, 'queued', 1)"
    )
    async with await connect(maintenance.database_url) as _, EventLog(maintenance.bootstrap_servers) as log:
        for each in lives(1, tasks=1, resource_class=maintenance.classes[0]).in_order():
            await log.acknowledged(await log.append(each.position.topic, each.record, b"k", []))
    with pytest.raises(RuntimeError, match="half way"):
        await rebuild(maintenance, told)
    assert await schemas(connection) == ["penstock"]
    rows = await (await connection.execute("SELECT count(*) FROM queue_depth")).fetchone()
    assert rows == (1,)


async def test_a_log_that_ends_before_the_live_tables_is_said_and_not_waited_for(
    config: ProjectorConfig,
    engine: AsyncEngine,
    maintenance: RebuildConfig,
    log_of_lives: list[str],
    connection: psycopg.AsyncConnection,
) -> None:
    async with projecting(config):
        await projected(engine, config)
    await connection.execute("UPDATE penstock.projection_offsets SET next_offset = next_offset + 1000000")
    with pytest.raises(LogTooShort, match="ends at"):
        await verify(maintenance)
