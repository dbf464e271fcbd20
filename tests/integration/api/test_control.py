"""The control routes on a real log and real read models: two API processes agree, and why says what the rows say."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from domain import decide
from domain.states import TaskStatus
from domain.task import TaskState
from projections.database import libpq_url
from streams.log import EventLog
from tests.support.doors import Doors, eventually

pytestmark = pytest.mark.external_service

PATH = "/api/v1/tasks"
SCHEDULER = "/api/v1/scheduler"


@pytest.fixture
async def doors(kafka: str, database: str) -> Doors:
    """Topics and tables, and nothing at work yet."""
    doors = Doors(kafka, database)
    await doors.prepare()
    return doors


async def submitted(client: httpx.AsyncClient, tenant: str, **more: object) -> str:
    body = {"type": "echo", "tenant": tenant, "payload": {"text": "x"}, **more}
    answer = await client.post(PATH, json=body)
    found: str = answer.json()["task_id"]
    return found


async def test_what_one_process_changed_holds_in_the_other_and_after_a_restart(doors: Doors) -> None:
    name = f"t{uuid.uuid4().hex}"
    async with doors.api() as one, doors.api() as other:
        answer = await one.put(f"/api/v1/limits/tenant/{name}", json={"concurrency": 3})
        assert answer.json()["concurrency"] == 3
        assert (await one.get(f"/api/v1/limits/tenant/{name}")).json() == answer.json()

        async def heard() -> bool:
            return (await other.get(f"/api/v1/limits/tenant/{name}")).status_code == 200

        await eventually(heard, "the other process to hear of it")
        assert (await other.put(f"/api/v1/tenants/{name}/weight", json={"weight": 2.5})).status_code == 200
    async with doors.api() as later:
        assert (await later.get(f"/api/v1/limits/tenant/{name}")).json() == answer.json()
        assert (await later.get(f"/api/v1/tenants/{name}/weight")).json()["weight"] == 2.5
        assert (await later.delete(f"/api/v1/limits/tenant/{name}")).status_code == 200
        assert (await later.get(f"/api/v1/limits/tenant/{name}")).status_code == 404


async def test_why_is_told_from_the_rows_while_a_task_waits_and_after_it_ran(doors: Doors) -> None:
    tenant = f"t{uuid.uuid4().hex}"
    async with doors.projector(), doors.api() as client, EventLog(doors.kafka) as log:
        body = {"class": "doorcpu", "strategy": "fifo"}
        assert (await client.put(SCHEDULER + "/strategy", json=body)).status_code == 200
        first, second = [await submitted(client, tenant, priority=priority) for priority in ("low", "high")]

        async def nobody_works() -> bool:
            sentence = (await client.get(f"{PATH}/{second}/why")).json()["sentence"]
            return bool(sentence == "It waits for a worker: none of class doorcpu is at work.")

        await eventually(nobody_works, "the task to be seen")
        await a_worker_says(doors, tenant)

        async def in_line() -> bool:
            answer = (await client.get(f"{PATH}/{second}/why")).json()
            return bool(answer["position"] == 2)

        await eventually(in_line, "both tasks to be seen")
        told = (await client.get(f"{PATH}/{second}/why")).json()
        assert told["sentence"] == f"It is second in line for tenant {tenant}, whose 1 slot is busy; about 20 s."
        assert (told["cause"], told["estimate_seconds"], told["strategy"]) == ("concurrency", 20.0, "fifo")
        await client.put(SCHEDULER + "/strategy", json=body | {"strategy": "priority"})
        assert (await client.get(f"{PATH}/{second}/why")).json()["position"] == 1

        start = decide.Start(
            at=datetime.now(UTC),
            epoch=1,
            worker="w",
            waited_ms={"priority": 30_000, "concurrency": 11_000},
            strategy="priority",
        )
        (fact,) = decide.decide(start, TaskState(task_id=first, status=TaskStatus.SUBMITTED, run=1))
        await log.acknowledged(await log.record(fact))

        async def runs() -> bool:
            return bool((await client.get(f"{PATH}/{first}/why")).json()["status"] == "running")

        await eventually(runs, "the start to be seen")
        told = (await client.get(f"{PATH}/{first}/why")).json()
        assert "after it waited 41 s: 30 s for more urgent work and 11 s for a free slot." in told["sentence"]
        assert (told["waited_total_ms"], told["strategy"]) == (41_000, "priority")


async def a_worker_says(doors: Doors, tenant: str) -> None:
    """The tenant is at its limit of one; attempts take ten seconds."""
    closed_by = {"cause": "concurrency", "scope": "tenant", "name": tenant, "until": None}
    lane = {"task_type": "echo", "tenant": tenant, "waiting": 2, "running": 1, "mean_seconds": 10.0}
    lane["closed_by"] = closed_by
    status = {"slots": 1, "running": 1, "strategy": "fifo", "lanes": [lane]}
    async with await psycopg.AsyncConnection.connect(libpq_url(doors.database), autocommit=True) as connection:
        await connection.execute(
            "INSERT INTO coordination.dispatch_status VALUES ('w', 'doorcpu', now() + interval '1 hour', %s)",
            (Jsonb(status),),
        )


async def test_many_are_asked_to_end_and_the_commands_are_in_the_log(doors: Doors) -> None:
    tenant = f"t{uuid.uuid4().hex}"
    async with doors.projector(), doors.api() as client:
        for _ in range(5):
            await submitted(client, tenant)
        picked = {"tenant": tenant, "status": "pending"}

        async def seen() -> bool:
            answer = await client.post(PATH + "/cancel", json=picked | {"dry_run": True})
            return bool(answer.json()["matched"] == 5)

        await eventually(seen, "all to be seen")
        first = (await client.post(PATH + "/cancel", json=picked | {"limit": 3})).json()
        assert (first["asked"], first["next"] is None) == (3, False)
        rest = (await client.post(PATH + "/cancel", json=picked | {"limit": 3, "after": first["next"]})).json()
        assert (rest["asked"], rest["next"]) == (2, None)
