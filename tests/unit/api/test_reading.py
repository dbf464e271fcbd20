"""Reading tasks: never a 404 for what was accepted, and waiting for an end."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api.app import create_app
from schemas.events import (
    LifecycleEvent,
    TaskCompleted,
    TaskFailed,
    TaskRejected,
    TaskReleased,
    TaskRetryScheduled,
    TaskStarted,
)
from streams import topics
from tests.support.callers import calling, problem
from tests.support.memory_world import MemoryWorld

PATH = "/api/v1/tasks"
ECHO = {"type": "echo", "payload": {"text": "hello"}}
AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def started(task_id: str, run: int = 1) -> TaskStarted:
    return TaskStarted(task_id=task_id, occurred_at=AT, run=run, epoch=1, sequence=1, attempt=run, worker="w")


def completed(task_id: str, result: str = '{"said":"hello"}', run: int = 1) -> list[LifecycleEvent]:
    details = {"result": result, "duration_seconds": 1.0}
    end = TaskCompleted(task_id=task_id, occurred_at=AT, run=run, epoch=1, sequence=2, attempt=run, **details)  # type: ignore[arg-type]  # a mapping of both kinds
    return [started(task_id, run), end]


async def submitted(client: httpx.AsyncClient) -> str:
    answer = await client.post(PATH, json=ECHO)
    task_id: str = answer.json()["task_id"]
    return task_id


async def test_a_task_reads_as_promised(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    task_id = await submitted(client)
    world.happens(*completed(task_id))
    task = (await client.get(f"{PATH}/{task_id}")).json()
    assert task["task_id"] == task_id
    assert (task["type"], task["status"], task["priority"], task["attempt"]) == ("echo", "completed", 2, 1)
    assert (task["payload"], task["result"], task["error"]) == ({"text": "hello"}, {"said": "hello"}, None)
    assert task["started_at"] == task["finished_at"] == "2026-11-21T09:30:00Z"
    assert datetime.fromisoformat(task["submitted_at"]).utcoffset() == timedelta(0)


async def test_an_error_and_the_next_attempt_are_shown(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    task_id = await submitted(client)
    due = AT + timedelta(minutes=1)
    world.happens(
        started(task_id),
        TaskRetryScheduled(
            task_id=task_id,
            occurred_at=AT,
            epoch=1,
            sequence=2,
            attempt=1,
            due_at=due,
            error_code="e",
            error_detail="d",
        ),
    )
    task = (await client.get(f"{PATH}/{task_id}")).json()
    assert (task["status"], task["error"]) == ("retry_scheduled", {"code": "e", "detail": "d"})
    assert task["retry_at"] == "2026-11-21T09:31:00Z"


async def test_a_task_that_its_provider_refused_shows_why_and_until_when(
    client: httpx.AsyncClient, world: MemoryWorld
) -> None:
    task_id = await submitted(client)
    refused = TaskReleased(
        task_id=task_id,
        occurred_at=AT,
        epoch=1,
        sequence=2,
        attempt=1,
        reason="HTTP 429",
        error_code="rate_limited",
        due_at=AT + timedelta(minutes=1),
    )
    world.happens(started(task_id), refused)
    task = (await client.get(f"{PATH}/{task_id}")).json()
    assert (task["status"], task["error"]) == ("queued", {"code": "rate_limited", "detail": "HTTP 429"})
    assert task["retry_at"] == "2026-11-21T09:31:00Z"


@pytest.mark.parametrize("result", ['{"t":"\\ud800"}', '{"t":"\\u0000 \\u2028"}', '{"n":NaN}'])
async def test_no_result_breaks_its_reader(client: httpx.AsyncClient, world: MemoryWorld, result: str) -> None:
    task_id = await submitted(client)
    world.happens(*completed(task_id, result))
    assert (await client.get(f"{PATH}/{task_id}")).json()["status"] == "completed"


async def test_a_rejected_record_can_be_read(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    world.happens(
        TaskRejected(task_id="r", occurred_at=AT, sequence=1, error_code="c", error_detail="why", type="x", tenant="t")
    )
    task = (await client.get(f"{PATH}/r")).json()
    assert (task["status"], task["type"], task["tenant"], task["payload"]) == ("rejected", "x", "t", None)
    assert task["error"] == {"code": "c", "detail": "why"}


async def test_what_was_accepted_here_is_never_missing(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    world.read_model.projecting = False
    task_id = await submitted(client)
    answer = await client.get(f"{PATH}/{task_id}")
    assert (answer.status_code, answer.json()["status"]) == (200, "submitted")
    assert (await client.get(f"{PATH}/{task_id}/history")).status_code == 200


async def test_an_end_that_is_read_before_its_submission_shows_the_whole_task(
    client: httpx.AsyncClient, world: MemoryWorld
) -> None:
    """The two lie in topics without a common order."""
    world.read_model.projecting = False
    task_id = await submitted(client)
    for event in completed(task_id):
        world.read_model.fold(event)
    task = (await client.get(f"{PATH}/{task_id}")).json()
    assert (task["status"], task["type"], task["payload"]) == ("completed", "echo", {"text": "hello"})
    world.read_model.projecting = True
    assert (await client.get(f"{PATH}/{task_id}")).json() == task


async def test_what_another_process_accepted_is_waited_for(world: MemoryWorld) -> None:
    world.read_model.projecting = False
    async with calling(create_app(world.deps)) as one, calling(create_app(world.deps)) as other:
        task_id = await submitted(one)
        read = asyncio.create_task(other.get(f"{PATH}/{task_id}"))
        while not world.read_model.calls["projected"]:
            await asyncio.sleep(0.001)
        world.read_model.projecting = True
        assert (await read).json()["task_id"] == task_id


async def test_while_the_projector_is_down_there_is_no_telling(world: MemoryWorld) -> None:
    world.read_model.projecting = False
    async with calling(create_app(world.deps)) as one, calling(create_app(world.deps)) as other:
        task_id = await submitted(one)
        problem(await other.get(f"{PATH}/{task_id}"), 503, "read-model-unavailable")


async def test_held_work_of_another_process_is_waited_for_through_intake(world: MemoryWorld) -> None:
    world.broker.taken_in = 0
    async with calling(create_app(world.deps)) as one, calling(create_app(world.deps)) as other:
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        task_id = (await one.post(PATH, json=ECHO | {"run_at": later})).json()["task_id"]
        problem(await other.get(f"{PATH}/{task_id}"), 503, "read-model-unavailable")
        world.broker.taken_in = 1
        problem(await other.get(f"{PATH}/{task_id}"), 404, "task-not-found")


@pytest.mark.parametrize("task_id", ["nobody", "%00", "a%0Ab", "..%2f..", "x" * 300, "%F0%9F%98%80"])
async def test_what_never_was_is_not_found(client: httpx.AsyncClient, task_id: str) -> None:
    answer = await client.get(f"{PATH}/{task_id}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_many_missing_tasks_cost_few_questions() -> None:
    world = MemoryWorld(lag_seconds_max=60.0)
    async with calling(create_app(world.deps)) as client:
        answers = await asyncio.gather(*(client.get(f"{PATH}/nobody-{number}") for number in range(100)))
    assert {answer.status_code for answer in answers} == {404}
    assert world.broker.calls["ends"] <= 4
    assert world.read_model.calls["projected"] <= 4


async def test_lists_are_paged_and_filtered(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    ids = [await submitted(client) for _ in range(5)]
    await client.post(PATH, json={"type": "fetch", "payload": {"url": "x"}, "tenant": "b"})
    world.happens(*completed(ids[0]))
    body = (await client.get(PATH, params={"page": 2, "page_size": 4})).json()
    assert (body["total"], body["page"], body["page_size"], len(body["tasks"])) == (6, 2, 4, 2)
    for query, total in [
        ({"status": "completed"}, 1),
        ({"status": "pending"}, 5),
        ({"type": "fetch"}, 1),
        ({"tenant": "b", "status": "submitted"}, 1),
        ({"tenant": "c"}, 0),
    ]:
        assert (await client.get(PATH, params=query)).json()["total"] == total, query


@pytest.mark.parametrize(
    "query",
    [
        *("page=0", "page=-1", "page=x", "page=99999999999999999999", "page=%D9%A3", "page_size=101", "page_size=1.5"),
        *("status=done", "status=", "type=", "tenant=%00", f"tenant={'x' * 201}"),
    ],
)
async def test_queries_that_cannot_be_met_are_flaws(client: httpx.AsyncClient, query: str) -> None:
    body = problem(await client.get(f"{PATH}?{query}"), 422, "invalid-request")
    assert body["errors"][0]["pointer"] == "?" + query.partition("=")[0]


@pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "soon", ""])
async def test_a_wait_has_bounds(client: httpx.AsyncClient, wait: str) -> None:
    task_id = await submitted(client)
    problem(await client.get(f"{PATH}/{task_id}", params={"wait": wait}), 422, "invalid-request")


async def test_a_caller_that_waits_is_answered_at_the_end(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    task_id = await submitted(client)
    waits = [asyncio.create_task(client.get(f"{PATH}/{task_id}?wait=60")) for _ in range(300)]
    while world.read_model.calls["task"] < 300:
        await asyncio.sleep(0.001)
    world.read_model.calls.clear()
    world.happens(*completed(task_id))
    world.notifications.tell()
    answers = await asyncio.wait_for(asyncio.gather(*waits), 10)
    assert {answer.json()["status"] for answer in answers} == {"completed"}
    # One look woke all of them; a second one may have been under way.
    assert world.read_model.calls["terminal"] <= 3


async def test_without_a_notification_the_end_is_found_all_the_same(
    client: httpx.AsyncClient, world: MemoryWorld
) -> None:
    task_id = await submitted(client)
    wait = asyncio.create_task(client.get(f"{PATH}/{task_id}?wait=60"))
    while not world.read_model.calls["task"]:
        await asyncio.sleep(0.001)
    world.happens(*completed(task_id))
    assert (await asyncio.wait_for(wait, 10)).json()["status"] == "completed"


async def test_a_wait_that_is_over_shows_the_task_as_it_is(client: httpx.AsyncClient) -> None:
    task_id = await submitted(client)
    answer = await client.get(f"{PATH}/{task_id}?wait=0.05")
    assert (answer.status_code, answer.json()["status"]) == (200, "submitted")


async def test_waiting_for_a_retry_outlasts_the_end_of_the_run_before(
    client: httpx.AsyncClient, world: MemoryWorld
) -> None:
    task_id = await submitted(client)
    failed = TaskFailed(
        task_id=task_id, occurred_at=AT, epoch=1, sequence=2, attempt=1, error_code="e", error_detail="d"
    )
    world.happens(started(task_id), failed)
    assert (await client.get(f"{PATH}/{task_id}")).json()["status"] == "failed"
    world.read_model.projecting = False
    assert (await client.post(f"{PATH}/{task_id}/retry")).status_code == 202
    wait = asyncio.create_task(client.get(f"{PATH}/{task_id}?wait=60"))
    world.read_model.calls.clear()
    while world.read_model.calls["terminal"] < 2:
        world.notifications.tell()
        await asyncio.sleep(0.01)
    assert not wait.done()
    world.happens(*completed(task_id, run=2))
    world.read_model.projecting = True
    world.notifications.tell()
    task = (await asyncio.wait_for(wait, 10)).json()
    assert (task["status"], task["run"]) == ("completed", 2)
    assert [len(records) for name, records in world.log.records.items() if name != topics.LIFECYCLE] == [2]
