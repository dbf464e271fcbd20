"""The API on a real log, a real projector and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from api import waiting
from domain import decide
from domain.states import TaskStatus
from domain.task import TaskState, evolve
from streams.log import EventLog
from tests.support.callers import problem
from tests.support.doors import PATIENCE_SECONDS, Doors, eventually

pytestmark = pytest.mark.external_service

PATH = "/api/v1/tasks"


@pytest.fixture
async def doors(kafka: str, database: str) -> Doors:
    """Topics and tables, and nothing at work yet."""
    doors = Doors(kafka, database)
    await doors.prepare()
    return doors


def echo(tenant: str, /, **more: Any) -> dict[str, Any]:
    return {"type": "echo", "tenant": tenant, "payload": {"text": "héllo \0"}} | more


def some_tenant() -> str:
    return f"t{uuid.uuid4().hex}"


class Owner:
    """Writes what an owner of the shard would write."""

    def __init__(self, log: EventLog, task_id: str) -> None:
        self._log = log
        self._state = TaskState(task_id=task_id, status=TaskStatus.SUBMITTED, run=1)

    async def does(self, *commands: decide.OwnerCommand) -> None:
        for command in commands:
            for fact in decide.decide(command, self._state):
                await self._log.acknowledged(await self._log.record(fact))
                self._state = evolve(self._state, fact)


async def test_a_task_from_its_submission_to_its_result(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = some_tenant()
    # Only the projector's notification can wake who waits.
    monkeypatch.setattr(waiting, "POLL_INTERVAL_SECONDS", 3600.0)
    async with doors.projector(), doors.api() as client, EventLog(doors.kafka) as log:
        accepted = await client.post(PATH, json=echo(tenant))
        assert accepted.status_code == 202
        address, task_id = accepted.headers["location"], accepted.json()["task_id"]
        assert (await client.get(address)).json()["status"] == "submitted"
        wait = asyncio.create_task(client.get(address, params={"wait": 60}))
        at = datetime.now(UTC)
        owner = Owner(log, task_id)
        await owner.does(
            decide.Queue(at=at, epoch=1),
            decide.Start(at=at, epoch=1, worker="w"),
            decide.Complete(at=at, epoch=1, result='{"said":"h\\u0000"}', duration_seconds=0.5),
        )
        task = (await asyncio.wait_for(wait, PATIENCE_SECONDS)).json()
        assert (task["status"], task["result"], task["attempt"]) == ("completed", {"said": "h\0"}, 1)
        assert task["payload"] == {"text": "héllo \0"}
        life = ["task.submitted", "task.queued", "task.started", "task.completed"]

        async def written() -> bool:
            events = (await client.get(address + "/history")).json()["events"]
            return [event["type"] for event in events] == life

        await eventually(written, "the projector has read both topics that the task's life is in")
        listed = (await client.get(PATH, params={"tenant": tenant, "status": "completed"})).json()
        assert (listed["total"], listed["tasks"][0]["task_id"]) == (1, task_id)


async def test_a_key_is_the_same_task_for_every_process_and_after_a_restart(doors: Doors) -> None:
    tenant, headers = some_tenant(), {"idempotency-key": "k"}
    async with doors.projector():
        async with doors.api() as one, doors.api() as other:
            answers = await asyncio.gather(
                *(client.post(PATH, json=echo(tenant), headers=headers) for client in (one, other) for _ in range(10))
            )
            assert {answer.status_code for answer in answers} == {202}
            (task_id,) = {answer.json()["task_id"] for answer in answers}
        async with doors.api() as restarted:
            again = await restarted.post(PATH, json=echo(tenant), headers=headers)
            assert (again.status_code, again.json()["task_id"]) == (202, task_id)
            changed = await restarted.post(PATH, json=echo(tenant, priority=3), headers=headers)
            problem(changed, 422, "idempotency-key-reused")
            assert (await restarted.get(PATH, params={"tenant": tenant})).json()["total"] == 1


async def test_another_process_finds_it_at_once(doors: Doors) -> None:
    tenant = some_tenant()
    async with doors.projector(), doors.api() as one, doors.api() as other:

        async def follows() -> bool:
            return (await other.get(f"{PATH}/{uuid.uuid4()}")).status_code == 404

        await eventually(follows, "the projector has read what there is")
        for _ in range(20):
            address = (await one.post(PATH, json=echo(tenant))).headers["location"]
            assert (await other.get(address)).status_code == 200
        problem(await other.get(f"{PATH}/{uuid.uuid4()}"), 404, "task-not-found")


async def test_without_a_projector_accepted_tasks_are_not_missing(doors: Doors) -> None:
    async with doors.api() as one, doors.api() as other:
        address = (await one.post(PATH, json=echo(some_tenant()))).headers["location"]
        assert (await one.get(address)).json()["status"] == "submitted"
        problem(await other.get(address), 503, "read-model-unavailable")


async def test_work_is_taken_while_postgresql_is_down_and_shown_afterwards(doors: Doors) -> None:
    tenant = some_tenant()
    async with doors.projector(), doors.api() as client:
        assert (await client.post(PATH, json=echo(tenant))).status_code == 202
        doors.refuse_connections(True)
        try:
            answers = [await client.post(PATH, json=echo(tenant, id=f"{tenant}-{number}")) for number in range(3)]
            assert [answer.status_code for answer in answers] == [202] * 3
            problem(await client.get(f"{PATH}/{tenant}-0"), 503, "read-model-unavailable")
            problem(await client.get(PATH), 503, "read-model-unavailable")
            assert "database" in problem(await client.get("/ready"), 503, "not-ready")["missing"]
        finally:
            doors.refuse_connections(False)

        async def shown() -> bool:
            answer = await client.get(PATH, params={"tenant": tenant})
            return answer.status_code == 200 and bool(answer.json()["total"] == 4)

        await eventually(shown, "all four tasks")


async def test_two_hundred_callers_at_once(doors: Doors) -> None:
    tenant = some_tenant()
    async with doors.projector(), doors.api() as client:

        async def call() -> httpx.Response:
            accepted = await client.post(PATH, json=echo(tenant))
            return await client.get(accepted.headers["location"])

        answers = await asyncio.gather(*(call() for _ in range(200)))
        assert [answer.status_code for answer in answers] == [200] * 200

        async def shown() -> bool:
            return bool((await client.get(PATH, params={"tenant": tenant})).json()["total"] == 200)

        await eventually(shown, "two hundred tasks")


async def test_health_tells_the_parts_apart(doors: Doors) -> None:
    async with doors.projector(), doors.intake(), doors.api() as client:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            parts = (await client.get("/api/v1/system/health")).json()["components"]
            if parts["intake"]["status"] == parts["projector"]["status"] == "up":
                break
            assert time.monotonic() < deadline, parts
            await asyncio.sleep(0.2)
        assert (parts["log"]["status"], parts["database"]["status"]) == ("up", "up")
        missing = problem(await client.get("/ready"), 503, "not-ready")["missing"]
        assert missing == ["agents-doorcpu", "agents-doorio"]
