"""Workflows, schedules and pauses on real services: the doors, intake, the projector, and hands that do the work."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord

from domain import decide, holds
from domain.task import TaskState, evolve
from projections.database import open_engine
from projections.endings import Endings
from projections.intake_model import IntakeTasks
from projections.rebuild import RebuildConfig, verify
from schemas.codec import encode
from schemas.configuration import DispatchPaused, DispatchResumed, ScheduleDefined, ScheduleRemoved
from schemas.events import TaskSubmitted
from streams import topics
from streams.intake import IntakeConfig
from streams.intake_process import run_intake
from streams.log import EventLog
from streams.state_header import state_said
from tests.support.doors import CATALOGUE, CLASSES, Doors, eventually, records
from tests.support.hands import Hands, working

pytestmark = pytest.mark.external_service


@pytest.fixture
async def doors(kafka: str, database: str) -> Doors:
    """Topics and tables, and nothing at work yet."""
    doors = Doors(kafka, database)
    await doors.prepare()
    return doors


@pytest.fixture
def tenant() -> str:
    """A tenant of the test's own."""
    return f"t-{uuid.uuid4().hex[:8]}"


def says(task: TaskSubmitted, payload: dict[str, Any]) -> Any:
    """What hands make of a task: its text with its own mark, or a failure on request."""
    return RuntimeError("on request") if payload.get("fail") else {"said": f"{payload['text']}+"}


def echo(*depends_on: str, **payload: Any) -> dict[str, Any]:
    return {"type": "echo", "payload": {"text": "x"} | payload, "depends_on": list(depends_on)}


async def ended(client: httpx.AsyncClient, workflow_id: str) -> dict[str, Any]:
    """The workflow once all of its steps have ended."""
    for _ in range(2):
        response = await client.get(f"/api/v1/workflows/{workflow_id}", params={"wait": 60})
        workflow: dict[str, Any] = response.raise_for_status().json()
    assert workflow["status"] in ("completed", "failed", "cancelled"), workflow
    return workflow


@asynccontextmanager
async def killed_at_each_step(doors: Doors, hands: Hands) -> AsyncIterator[None]:
    """An intake process, cut off without a word whenever it has moved something, and then a next one."""
    done = asyncio.Event()

    async def moved(before: int, running: asyncio.Future[None]) -> None:
        while len(hands.taken) == before and not (done.is_set() or running.done()):
            await asyncio.sleep(0.02)

    async def live() -> None:
        engine = open_engine(doors.database)
        try:
            config = IntakeConfig(
                bootstrap_servers=doors.kafka,
                catalogue=CATALOGUE,
                tasks=IntakeTasks(engine),
                classes=CLASSES,
                endings=Endings(doors.database).tell,
            )
            while not done.is_set():
                running = asyncio.ensure_future(run_intake(config, asyncio.Event()))
                await moved(len(hands.taken), running)
                assert not running.done(), running.exception()
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
        finally:
            await engine.dispose()

    living = asyncio.create_task(live())
    try:
        yield
    finally:
        done.set()
        await living


async def test_a_workflow_comes_to_its_end_whatever_becomes_of_intake(doors: Doors, kafka: str, tenant: str) -> None:
    """A chain of four and a fan of five; the process that moves it dies whenever it has moved something."""
    steps = {
        "first": echo(),
        "second": echo(text={"$from": "first#/said"}),
        "third": echo(text={"$from": "second#/said"}),
        **{f"fan{number}": echo("first") for number in range(5)},
        "last": echo(*(f"fan{number}" for number in range(5)), text={"$from": "third#/said"}),
    }
    document = {"id": f"w-{tenant}", "tenant": tenant, "steps": steps}
    async with doors.api() as client, doors.projector(), working(kafka, CLASSES, tenant, says) as hands:
        response = await client.post("/api/v1/workflows", json=document)
        assert response.status_code == 202, response.text
        assert response.headers["location"] == f"/api/v1/workflows/w-{tenant}"
        assert set(response.json()["steps"]) == set(steps)
        async with killed_at_each_step(doors, hands):
            workflow = await ended(client, f"w-{tenant}")
        assert workflow["status"] == "completed"
        assert len(hands.taken) == len(steps)
        assert hands.payload(f"w-{tenant}:last")["text"] == "x+++"
        repeat = await client.post("/api/v1/workflows", json=document)
        assert (repeat.status_code, repeat.json()["status"]) == (202, "completed")
        other = await client.post("/api/v1/workflows", json=document | {"steps": {"first": echo()}})
        assert other.status_code == 409
    config = RebuildConfig(bootstrap_servers=kafka, database_url=doors.database, classes=CLASSES)
    verification = await verify(config)
    assert verification.matches, "\n".join(verification.lines())


async def test_a_failed_step_stops_the_workflow_and_a_cancel_ends_one(doors: Doors, kafka: str, tenant: str) -> None:
    failing = {"bad": echo(fail=True), "after": echo("bad"), "later": echo() | {"delay": "1h"}}
    waiting = {"now": echo() | {"delay": "1h"}, "then": echo("now")}
    async with doors.api() as client, doors.projector(), doors.intake(), working(kafka, CLASSES, tenant, says):
        for name, steps in (("bad", failing), ("idle", waiting)):
            document = {"id": f"{name}-{tenant}", "tenant": tenant, "steps": steps}
            assert (await client.post("/api/v1/workflows", json=document)).status_code == 202
        workflow = await ended(client, f"bad-{tenant}")
        steps = workflow["steps"]
        assert (workflow["status"], steps["after"]["error"]["code"]) == ("failed", "dependency_failed")
        assert "step bad" in steps["after"]["error"]["detail"]
        assert steps["later"]["status"] == "cancelled"
        assert (await client.delete(f"/api/v1/workflows/idle-{tenant}")).status_code == 202
        idle = await ended(client, f"idle-{tenant}")
        assert {step["status"] for step in idle["steps"].values()} == {"cancelled"}
        assert (await client.delete(f"/api/v1/workflows/idle-{tenant}")).status_code == 200
        assert (await client.get(f"/api/v1/workflows/none-{tenant}")).status_code == 404


async def test_workflows_and_dependencies_come_through_kafka_too(doors: Doors, kafka: str, tenant: str) -> None:
    workflow = {"id": f"k-{tenant}", "tenant": tenant, "steps": {"a": echo(), "b": echo("a")}}
    single = echo(f"k-{tenant}:b", text={"$from": f"k-{tenant}:b#/said"}) | {"id": f"s-{tenant}", "tenant": tenant}
    bad = {"id": f"bad-{tenant}", "tenant": tenant, "steps": {"a": echo("b"), "b": echo("a")}}
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for document in (single, workflow, bad):
            await producer.send_and_wait(topics.INTAKE, json.dumps(document).encode())
    async with doors.api() as client, doors.projector(), doors.intake(), working(kafka, CLASSES, tenant, says) as hands:

        async def done() -> bool:
            return len(hands.taken) == 3

        await eventually(done, "all three tasks")
        assert hands.payload(f"s-{tenant}")["text"] == "x+"
        listed = await client.get("/api/v1/tasks", params={"tenant": tenant, "status": "rejected"})
        (rejected,) = listed.json()["tasks"]
        assert "waits for" in rejected["error"]["detail"]


async def test_ticks_of_a_schedule_become_tasks(doors: Doors, kafka: str, tenant: str) -> None:
    """The schedule was made two minutes ago, in a log whose leader is only now there."""
    document = {
        "id": tenant,
        "cron": "* * * * *",
        "time_zone": "Asia/Shanghai",
        "submission": {"type": "echo", "tenant": tenant, "payload": {"text": "x"}},
    }
    now = datetime.now(UTC)
    async with doors.api() as client, doors.projector():
        created = await client.post("/api/v1/schedules", json=document)
        assert created.status_code == 201, created.text
        assert (await client.post("/api/v1/schedules", json=document)).status_code == 200
        assert (await client.post("/api/v1/schedules", json=document | {"cron": "0 * * * *"})).status_code == 409
        listed = (await client.get("/api/v1/schedules")).json()["schedules"]
        assert [each["next_at"] for each in listed if each["schedule_id"] == tenant]
        async with EventLog(kafka) as log:
            earlier = ScheduleDefined(
                change_id=str(uuid.uuid4()),
                changed_at=now - timedelta(minutes=2),
                schedule_id=tenant,
                cron="* * * * *",
                time_zone="UTC",
                submission=json.dumps(document["submission"]),
                catch_up="all",
            )
            await log.change(earlier)
            try:
                async with working(kafka, CLASSES, tenant, says) as hands:

                    async def ticked() -> bool:
                        return len(hands.taken) >= 2

                    for _ in range(2):
                        async with doors.intake():
                            await eventually(ticked, "two ticks")
                    ids = [task.task_id for task in hands.taken]
                    assert len(ids) == len(set(ids))
                    assert {task.schedule_id for task in hands.taken} == {tenant}
                    assert not hands.repeats
            finally:
                await log.change(ScheduleRemoved(change_id=str(uuid.uuid4()), changed_at=now, schedule_id=tenant))
        gone = await client.get(f"/api/v1/schedules/{tenant}")
        assert gone.status_code in (200, 404), "another process applies the removal in its own time"


async def test_what_a_pause_put_aside_goes_on_with_its_attempts_after_the_resumption(
    doors: Doors, kafka: str, tenant: str
) -> None:
    task = TaskSubmitted(
        task_id=f"p-{tenant}",
        occurred_at=datetime.now(UTC),
        type="echo",
        resource_class="doorcpu",
        routing_key=f"p-{tenant}",
        tenant=tenant,
        payload='{"text":"x"}',
    )
    at = datetime.now(UTC)
    change: dict[str, Any] = {"changed_at": at, "scope": "tenant", "name": tenant}

    async def copies() -> list[ConsumerRecord]:
        return await records(kafka, "tasks-doorcpu-normal", lambda record: tenant.encode() in (record.value or b""))

    async with EventLog(kafka) as log, doors.projector(), doors.api() as client:
        await log.change(DispatchPaused(change_id=str(uuid.uuid4()), **change))
        await log.submit(task)
        state = evolve(TaskState(task_id=task.task_id), task)
        for command in (
            decide.Start(at=at, epoch=3, worker="w"),
            decide.Fail(at=at, epoch=3, code="busy", detail="", retryable=True),
            decide.Hold(at=at, epoch=3, reason=holds.paused("tenant", tenant), until=None, submission=encode(task)),
        ):
            for fact in decide.decide(command, state):
                await log.fact(fact)
                state = evolve(state, fact)
        async with doors.intake():

            async def held() -> bool:
                status: str = (await client.get(f"/api/v1/tasks/{task.task_id}")).json()["status"]
                return status == "held"

            await eventually(held, "the hold")
            await log.change(DispatchResumed(change_id=str(uuid.uuid4()), **change))

            async def released() -> bool:
                return len(await copies()) == 2

            await eventually(released, "the release")
        said = state_said(dict((await copies())[1].headers), task)
        assert (said.version, said.attempt, said.attempts_used) == (state.version, 1, 1)
