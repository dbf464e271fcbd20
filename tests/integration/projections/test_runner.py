"""The projector role on a real log and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.states import TaskStatus
from projections.database import connect
from projections.history import get_history
from projections.locks import Lock, try_acquire
from projections.offsets import progress
from projections.projector import Projector
from projections.rebuild import RebuildConfig, verify
from projections.recorded import LogTooShort, recorded
from projections.runner import ProjectorConfig, run_projector
from projections.tasks import get_statuses, get_task
from schemas.events import TaskCompleted, TaskStarted, TaskSubmitted
from streams.log import EventLog
from streams.topics import recorded_topics
from tests.support.logs import submission
from tests.support.projecting import DEADLINE_SECONDS, eventually, projecting

pytestmark = pytest.mark.external_service


def a_task(resource_class: str) -> TaskSubmitted:
    task_id = str(uuid.uuid4())
    return submission(task_id, resource_class=resource_class, routing_key=task_id, occurred_at=datetime.now(UTC))


async def live_through(log: EventLog, task: TaskSubmitted) -> None:
    """Everything that happens to a task that goes well."""
    await log.submit(task)
    started = TaskStarted(
        task_id=task.task_id, occurred_at=datetime.now(UTC), epoch=1, sequence=1, attempt=1, worker="w"
    )
    completed = TaskCompleted(
        task_id=task.task_id,
        occurred_at=datetime.now(UTC),
        epoch=1,
        sequence=2,
        attempt=1,
        result="{}",
        duration_seconds=0.0,
    )
    await log.all_acknowledged([await log.record(started), await log.record(completed)])


def all_completed(tasks: list[TaskSubmitted]) -> Callable[[AsyncConnection], Awaitable[bool]]:
    async def holds(connection: AsyncConnection) -> bool:
        found = await get_statuses(connection, [task.task_id for task in tasks])
        return len(found) == len(tasks) and set(found.values()) == {TaskStatus.COMPLETED}

    return holds


async def test_a_task_appended_to_the_log_is_read_from_the_tables(
    config: ProjectorConfig, engine: AsyncEngine, log: EventLog, resource_class: str
) -> None:
    async with projecting(config):
        task = a_task(resource_class)
        await live_through(log, task)

        async def read_whole(connection: AsyncConnection) -> bool:
            # Two topics have no common order: its end may be read before the record that says what it is.
            view = await get_task(connection, task.task_id)
            return view is not None and view.state.terminal and view.submission is not None

        await eventually(engine, read_whole)
        async with engine.connect() as connection:
            view = await get_task(connection, task.task_id)
            assert view is not None
            assert (view.submission, view.state.result) == (task, "{}")
            assert [line.type for line in await get_history(connection, task.task_id)] == [
                "task.submitted",
                "task.started",
                "task.completed",
            ]
            assert await progress(connection) is not None


async def test_one_projects_and_another_stands_by(
    config: ProjectorConfig, engine: AsyncEngine, log: EventLog, resource_class: str, maintenance: RebuildConfig
) -> None:
    tasks = [a_task(resource_class) for _ in range(20)]
    async with projecting(config):
        async with projecting(config):
            await live_through(log, tasks[0])
            await eventually(engine, all_completed(tasks[:1]))
        for task in tasks[1:]:
            await live_through(log, task)
        await eventually(engine, all_completed(tasks))
    assert (await verify(maintenance)).matches


async def test_lost_sessions_lose_and_double_nothing(
    config: ProjectorConfig,
    engine: AsyncEngine,
    log: EventLog,
    resource_class: str,
    connection: psycopg.AsyncConnection,
    maintenance: RebuildConfig,
) -> None:
    tasks = [a_task(resource_class) for _ in range(60)]
    async with projecting(config):
        for number, task in enumerate(tasks):
            await live_through(log, task)
            if number % 15 == 7:
                await connection.execute(
                    "SELECT pg_terminate_backend(l.pid) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database"
                    " WHERE l.locktype = 'advisory' AND d.datname = current_database()"
                    " AND (l.classid::bigint << 32) + l.objid::bigint = %s AND l.granted",
                    [int(Lock.PROJECTOR)],
                )
        await eventually(engine, all_completed(tasks))
    verification = await verify(maintenance)
    assert verification.matches, list(verification.lines())


async def test_a_projector_whose_process_is_cut_off_is_replaced_without_loss(
    config: ProjectorConfig, engine: AsyncEngine, log: EventLog, resource_class: str, maintenance: RebuildConfig
) -> None:
    tasks = [a_task(resource_class) for _ in range(30)]
    for number, task in enumerate(tasks):
        await live_through(log, task)
        if number % 10 == 5:
            running = asyncio.create_task(run_projector(config, asyncio.Event()))
            await eventually(engine, all_completed(tasks[: number - 2]))
            running.cancel()
            await asyncio.wait([running], timeout=DEADLINE_SECONDS)
    async with projecting(config):
        await eventually(engine, all_completed(tasks))
    assert (await verify(maintenance)).matches


@pytest.mark.parametrize(
    "broken", [{"database_url": "postgresql://nobody@127.0.0.1:1/none"}, {"classes": ("no-such-class",)}]
)
async def test_outages_at_the_start_are_waited_for(
    broken: dict[str, Any],
    config: ProjectorConfig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither an absent PostgreSQL nor an absent topic ends the role, and it stops when told to."""
    monkeypatch.setattr("projections.recorded.OPEN_TIMEOUT_SECONDS", 0.2)
    async with projecting(replace(config, **broken)), asyncio.timeout(DEADLINE_SECONDS):
        while caplog.text.count("action=wait") < 2:
            await asyncio.sleep(0.05)


async def test_an_outage_does_not_delay_the_stop(
    config: ProjectorConfig, monkeypatch: pytest.MonkeyPatch, connection: psycopg.AsyncConnection
) -> None:
    monkeypatch.setattr("projections.runner.STOP_GRACE_SECONDS", 0.1)
    stop = asyncio.Event()
    await connection.execute("SELECT pg_advisory_lock(%s)", [int(Lock.WRITE)])
    running = asyncio.create_task(run_projector(config, stop))
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await _waits_for_a_lock(connection):
            await asyncio.sleep(0.05)
        stop.set()
        await running


async def _waits_for_a_lock(connection: psycopg.AsyncConnection) -> bool:
    row = await (
        await connection.execute(
            "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database"
            " WHERE l.locktype = 'advisory' AND d.datname = current_database() AND NOT l.granted"
        )
    ).fetchone()
    return row is not None and bool(row[0])


async def test_a_log_that_ends_before_the_offsets_is_refused(
    config: ProjectorConfig, connection: psycopg.AsyncConnection
) -> None:
    projector = await Projector.open(connection)
    projector.offsets["task-lifecycle", 0] = 10**12
    names = recorded_topics(config.classes)
    with pytest.raises(LogTooShort, match="task-lifecycle/0"):
        async with recorded(config.bootstrap_servers, names, projector.offsets):
            pass


async def test_a_second_session_cannot_take_the_turn(
    config: ProjectorConfig, connection: psycopg.AsyncConnection
) -> None:
    assert await try_acquire(connection, Lock.PROJECTOR)
    async with await connect(config.database_url, autocommit=True) as other:
        assert not await try_acquire(other, Lock.PROJECTOR)
