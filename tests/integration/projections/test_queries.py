"""The queries that doors, intake and dashboards ask."""

from __future__ import annotations

from datetime import date, timedelta

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.states import TaskStatus
from projections.anomalies import latest_anomalies
from projections.daily_statistics import daily
from projections.database import open_engine, reading
from projections.intake_model import IntakeTasks
from projections.projector import Projector
from projections.queue_depth import Depth, backlog, queue_depths
from projections.tasks import get_run, get_statuses, get_task, known_task_ids, list_tasks
from schemas.codec import decode, encode
from schemas.events import TaskFailed, TaskHeld, TaskQueued, TaskStarted
from streams.ports import ReadModelUnavailable
from tests.support.logs import BEGIN, Log, polled, submission

pytestmark = pytest.mark.external_service


def a_log() -> Log:
    """Seven tasks: three submitted, one queued, one failed and retried, two held."""
    log = Log()
    for number in range(3):
        log.append(submission(f"s-{number}", occurred_at=BEGIN + timedelta(seconds=number), tenant="a"))
    log.append(submission("queued", type="api_request", resource_class="io", priority=3))
    log.append(TaskQueued(task_id="queued", occurred_at=BEGIN, epoch=1, sequence=1))
    first = submission("twice", occurred_at=BEGIN - timedelta(hours=1))
    log.append(first)
    log.append(TaskStarted(task_id="twice", occurred_at=BEGIN, epoch=1, sequence=1, attempt=1, worker="w"))
    failed = TaskFailed(
        task_id="twice", occurred_at=BEGIN, epoch=1, sequence=2, attempt=1, error_code="e", error_detail="d"
    )
    log.append(failed)
    log.append(submission("twice", run=2, attempts_before=1, occurred_at=BEGIN + timedelta(hours=1)))
    for number in range(2):
        held = submission(f"held-{number}")
        until = BEGIN + timedelta(minutes=number)
        log.append(
            TaskHeld(
                task_id=held.task_id,
                occurred_at=BEGIN,
                sequence=1,
                reason="run_at",
                until=until,
                submission=encode(held),
            )
        )
    return log


@pytest.fixture
async def projector(connection: psycopg.AsyncConnection) -> Projector:
    opened = await Projector.open(connection)
    await opened.apply(polled(a_log().in_order()))
    return opened


async def test_a_task_is_its_latest_run(projector: Projector, engine: AsyncEngine) -> None:
    async with reading(engine) as connection:
        latest, first = await get_task(connection, "twice"), await get_run(connection, "twice", 1)
        assert await get_task(connection, "nobody") is None
    assert latest is not None
    assert first is not None
    assert (latest.state.run, latest.status, latest.state.attempt) == (2, "submitted", 1)
    assert (first.status, first.state.error_code) == ("failed", "e")
    assert latest.submission_bytes is not None
    assert decode(latest.submission_bytes) == latest.submission
    assert latest.state.attempts_left


async def test_ids_are_looked_up_many_at_once(projector: Projector, engine: AsyncEngine) -> None:
    async with reading(engine) as connection:
        assert await known_task_ids(connection, ["twice", "nobody", "s-1"]) == {"twice", "s-1"}
        assert await known_task_ids(connection, []) == set()
        assert await get_statuses(connection, ["queued", "nobody"]) == {"queued": TaskStatus.QUEUED}


async def test_lists_are_newest_first_and_know_their_total(projector: Projector, engine: AsyncEngine) -> None:
    async with reading(engine) as connection:
        first, total = await list_tasks(connection, page=1, page_size=3)
        second, _ = await list_tasks(connection, page=2, page_size=3)
        beyond, same = await list_tasks(connection, page=9, page_size=3)
    ids = [task.task_id for task in (*first, *second)]
    assert ids[:3] == ["twice", "s-2", "s-1"]
    assert len(set(ids)) == 6
    assert (total, same, beyond) == (7, 7, [])


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"status": "submitted"}, {"s-0", "s-1", "s-2", "twice"}),
        ({"status": "pending"}, {"s-0", "s-1", "s-2", "twice", "queued", "held-0", "held-1"}),
        ({"status": ["queued", "failed"]}, {"queued"}),
        ({"type": "api_request"}, {"queued"}),
        ({"tenant": "a"}, {"s-0", "s-1", "s-2"}),
        ({"tenant": "a", "status": "held"}, set()),
    ],
)
async def test_lists_are_filtered(
    filters: dict[str, str], expected: set[str], projector: Projector, engine: AsyncEngine
) -> None:
    async with reading(engine) as connection:
        tasks, total = await list_tasks(connection, **filters)  # type: ignore[arg-type]  # one parameter set a case
    assert {task.task_id for task in tasks} == expected
    assert total == len(expected)


async def test_an_unknown_status_is_refused(projector: Projector, engine: AsyncEngine) -> None:
    with pytest.raises(ValueError, match="asleep"):
        async with reading(engine) as connection:
            await list_tasks(connection, status="asleep")


async def test_lists_use_their_indexes(projector: Projector, engine: AsyncEngine) -> None:
    async with reading(engine) as connection:
        await connection.execute(text("SET enable_seqscan = off"))
        for condition in ("true", "status = 'queued'", "type = 'x'", "tenant = 'x'"):
            query = f"SELECT * FROM tasks WHERE latest AND {condition} ORDER BY created_at DESC LIMIT 5"  # noqa: S608 - ours
            plan = await connection.execute(text(f"EXPLAIN {query}"))
            assert "Index Scan Backward" in "\n".join(line for (line,) in plan), condition


async def test_depths_and_backlog(projector: Projector, engine: AsyncEngine) -> None:
    async with reading(engine) as connection:
        assert await queue_depths(connection) == {
            Depth("cpu", 2, "submitted"): 4,
            Depth("cpu", 2, "held"): 2,
            Depth("io", 3, "queued"): 1,
        }
        found = await backlog(connection)
    assert found.waiting == {"cpu": 4, "io": 1}
    assert found.projected == projector.offsets


async def test_days_count_runs(projector: Projector, engine: AsyncEngine) -> None:
    async with reading(engine) as connection:
        days = await daily(connection, date(2026, 11, 20), date(2026, 11, 21), type="convert", tenant="default")
        assert await daily(connection, date(2026, 11, 22), date(2026, 11, 23)) == []
    assert [(day.submitted, day.failed, day.wait_seconds) for day in days] == [(3, 1, 3600.0), (1, 0, 0.0)]


async def test_held_work_is_due_until_the_log_has_its_submission_again(
    projector: Projector, engine: AsyncEngine
) -> None:
    tasks = IntakeTasks(engine)
    now = BEGIN + timedelta(seconds=30)
    assert [task.task_id for task in await tasks.due("cpu", now, 10)] == ["held-0"]
    assert [task.task_id for task in await tasks.due("cpu", now + timedelta(hours=1), 10)] == ["held-0", "held-1"]
    assert [task.task_id for task in await tasks.due("cpu", now + timedelta(hours=1), 1)] == ["held-0"]
    assert await tasks.due("io", now, 10) == []
    log = a_log()
    again = log.append(submission("held-0"))
    await projector.apply(polled([again]))
    assert await tasks.due("cpu", now, 10) == []
    # It is held until an owner says otherwise.
    assert [task.task_id for task in await tasks.held(["held-0", "held-1", "s-0"])] == ["held-0", "held-1"]
    queued = log.append(TaskQueued(task_id="held-0", occurred_at=now, epoch=1, sequence=1))
    await projector.apply(polled([queued]))
    assert [task.task_id for task in await tasks.held(["held-0", "held-1"])] == ["held-1"]
    assert await tasks.known(["held-0", "nobody"]) == {"held-0"}
    assert (await tasks.queue()).waiting == {"cpu": 5, "io": 1}


async def test_anomalies_are_listed(projector: Projector, engine: AsyncEngine) -> None:
    log = a_log()
    bad = log.append(TaskQueued(task_id="s-0", occurred_at=BEGIN, sequence=1), topic="tasks-cpu-normal")
    await projector.apply(polled([bad]))
    async with reading(engine) as connection:
        (found,) = await latest_anomalies(connection)
    assert (found.task_id, found.topic) == ("s-0", "tasks-cpu-normal")


async def test_what_cannot_be_asked_is_one_kind_of_error(database: str, engine: AsyncEngine) -> None:
    """Neither an absent server nor absent tables show as errors of a driver."""
    with pytest.raises(ReadModelUnavailable, match="tasks"):
        async with reading(engine) as connection:
            await get_task(connection, "t")
    nowhere = open_engine("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(ReadModelUnavailable):
        async with reading(nowhere) as connection:
            await get_task(connection, "t")
    await nowhere.dispose()
