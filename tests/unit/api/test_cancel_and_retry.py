"""Cancelling and retrying by hand."""

import asyncio
from datetime import UTC, datetime

import httpx
import pytest

from schemas.events import (
    LifecycleEvent,
    TaskCancelled,
    TaskCancelRequested,
    TaskCompleted,
    TaskFailed,
    TaskStarted,
)
from tests.support.callers import problem
from tests.support.memory_world import MemoryWorld

PATH = "/api/v1/tasks"
AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


@pytest.fixture
async def task_id(client: httpx.AsyncClient) -> str:
    """A task that was accepted."""
    answer = await client.post(PATH, json={"type": "echo", "payload": {"text": "hello"}})
    found: str = answer.json()["task_id"]
    return found


def start(task_id: str) -> LifecycleEvent:
    return TaskStarted(task_id=task_id, occurred_at=AT, epoch=1, sequence=1, attempt=1, worker="w")


def end(task_id: str, how: str) -> LifecycleEvent:
    match how:
        case "failed":
            return TaskFailed(
                task_id=task_id, occurred_at=AT, epoch=1, sequence=3, attempt=1, error_code="e", error_detail="d"
            )
        case "cancelled":
            return TaskCancelled(task_id=task_id, occurred_at=AT, epoch=1, sequence=3, attempt=1, reason="r")
        case _:
            return TaskCompleted(
                task_id=task_id, occurred_at=AT, epoch=1, sequence=3, attempt=1, result="{}", duration_seconds=1
            )


def asked(task_id: str) -> LifecycleEvent:
    return TaskCancelRequested(task_id=task_id, occurred_at=AT, epoch=1, sequence=2, attempt=1, reason="r")


async def test_a_cancel_asks_the_owner(client: httpx.AsyncClient, world: MemoryWorld, task_id: str) -> None:
    answer = await client.delete(f"{PATH}/{task_id}")
    assert (answer.status_code, answer.json()) == (202, {"task_id": task_id, "status": "cancelling"})
    assert answer.headers["location"] == f"{PATH}/{task_id}"
    (command,) = world.log.commands
    assert (command.task_id, command.run) == (task_id, 1)


async def test_cancelling_twice_is_the_same(client: httpx.AsyncClient, world: MemoryWorld, task_id: str) -> None:
    world.happens(start(task_id), asked(task_id))
    assert (await client.delete(f"{PATH}/{task_id}")).status_code == 202
    world.happens(end(task_id, "cancelled"))
    answer = await client.delete(f"{PATH}/{task_id}")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert not world.log.commands


@pytest.mark.parametrize("how", ["completed", "failed"])
async def test_what_has_ended_cannot_be_cancelled(
    client: httpx.AsyncClient, world: MemoryWorld, task_id: str, how: str
) -> None:
    world.happens(start(task_id), end(task_id, how))
    body = problem(await client.delete(f"{PATH}/{task_id}"), 409, "state-forbids")
    assert body["task_status"] == how
    assert not world.log.commands


async def test_a_failed_task_runs_again_under_its_id(
    client: httpx.AsyncClient, world: MemoryWorld, task_id: str
) -> None:
    world.happens(start(task_id), end(task_id, "failed"))
    answer = await client.post(f"{PATH}/{task_id}/retry")
    assert (answer.status_code, answer.json()) == (202, {"task_id": task_id, "status": "submitted"})
    assert answer.headers["location"] == f"{PATH}/{task_id}"
    first, second = world.log.submissions
    assert (second.task_id, second.run, second.attempts_before) == (task_id, 2, 1)
    assert (second.payload, second.routing_key) == (first.payload, first.routing_key)
    assert (await client.get(f"{PATH}/{task_id}")).json()["run"] == 2


async def test_concurrent_retries_start_one_run(client: httpx.AsyncClient, world: MemoryWorld, task_id: str) -> None:
    world.happens(start(task_id), end(task_id, "failed"))
    await client.get(f"{PATH}/{task_id}")
    world.read_model.projecting = False
    answers = await asyncio.gather(*(client.post(f"{PATH}/{task_id}/retry") for _ in range(10)))
    assert {answer.status_code for answer in answers} == {202}
    assert len(world.log.submissions) == 2


@pytest.mark.parametrize("how", ["waiting", "running", "completed"])
async def test_a_retry_needs_a_state_that_allows_it(
    client: httpx.AsyncClient, world: MemoryWorld, task_id: str, how: str
) -> None:
    if how != "waiting":
        world.happens(start(task_id))
    if how == "completed":
        world.happens(end(task_id, "completed"))
    problem(await client.post(f"{PATH}/{task_id}/retry"), 409, "state-forbids")
    assert len(world.log.submissions) == 1


async def test_nothing_can_be_asked_of_a_task_that_never_was(client: httpx.AsyncClient) -> None:
    problem(await client.delete(f"{PATH}/nobody"), 404, "task-not-found")
    problem(await client.post(f"{PATH}/nobody/retry"), 404, "task-not-found")
    problem(await client.get(f"{PATH}/nobody/history"), 404, "task-not-found")


async def test_a_log_that_is_away_takes_no_orders(client: httpx.AsyncClient, world: MemoryWorld, task_id: str) -> None:
    world.log.down = True
    problem(await client.delete(f"{PATH}/{task_id}"), 503, "log-unavailable")
    world.happens(start(task_id), end(task_id, "failed"))
    problem(await client.post(f"{PATH}/{task_id}/retry"), 503, "log-unavailable")
