"""The workflow and schedule routes, on a world in memory."""

from typing import Any

import httpx
import pytest

from domain.workflow import WorkflowStatus
from schemas.codec import encode
from schemas.events import TaskCancelled, TaskCompleted, TaskHeld, TaskStarted
from schemas.workflows import WorkflowSubmitted
from streams import topics
from streams.admission import Admission
from streams.held_work import HeldWork
from streams.intake import Intake, IntakeConfig
from tests.support.callers import problem
from tests.support.memory_world import CATALOGUE, CLASSES, MemoryWorld
from tests.unit.streams.test_intake import AT, Record

PATH = "/api/v1/workflows"
ECHO: dict[str, Any] = {"type": "echo", "payload": {"text": "x"}}
DOCUMENT: dict[str, Any] = {"id": "w", "tenant": "acme", "steps": {"a": ECHO, "b": ECHO | {"depends_on": ["a"]}}}


async def take_in(world: MemoryWorld) -> None:
    """Intake does its part with what the API has appended."""
    config = IntakeConfig(bootstrap_servers="", catalogue=CATALOGUE, tasks=world.read_model, classes=CLASSES)
    admission = Admission(100)
    intake = Intake(config, world.log, admission, HeldWork(world.log, world.read_model, admission, CLASSES))
    records = [Record(encode(each), number) for number, each in enumerate(world.log.records[topics.INTAKE])]
    await intake.copy(records, AT)


async def test_a_workflow_is_one_record_and_reads_at_once(world: MemoryWorld, client: httpx.AsyncClient) -> None:
    world.read_model.projecting = False
    response = await client.post(PATH, json=DOCUMENT)
    assert (response.status_code, response.headers["location"]) == (202, f"{PATH}/w")
    (record,) = world.log.records[topics.INTAKE]
    assert isinstance(record, WorkflowSubmitted)
    assert not world.log.submissions
    workflow = (await client.get(f"{PATH}/w")).json()
    assert (workflow["status"], workflow["tenant"], workflow["on_failure"]) == ("pending", "acme", "fail_fast")
    assert workflow["steps"]["b"] | {"started_at": None} == {
        "task_id": "w:b",
        "type": "echo",
        "status": "held",
        "attempt": 0,
        "depends_on": ["a"],
        "error": None,
        "started_at": None,
        "finished_at": None,
    }
    assert (await client.get("/api/v1/tasks/w:b")).json()["workflow_id"] == "w"


async def test_a_repeat_is_the_same_workflow_and_another_one_of_its_id_is_refused(
    world: MemoryWorld, client: httpx.AsyncClient
) -> None:
    for _ in range(2):
        assert (await client.post(PATH, json=DOCUMENT)).status_code == 202
    await take_in(world)
    assert (await client.post(PATH, json=DOCUMENT)).status_code == 202
    assert len(world.log.records[topics.INTAKE]) == 1
    other = DOCUMENT | {"steps": {"a": ECHO, "b": ECHO}}
    problem(await client.post(PATH, json=other), 409, "task-id-taken")
    await client.post("/api/v1/tasks", json=ECHO | {"id": "v:a"})
    problem(await client.post(PATH, json={"id": "v", "steps": {"a": ECHO}}), 409, "task-id-taken")


async def test_an_idempotency_key_stands_for_one_workflow(world: MemoryWorld, client: httpx.AsyncClient) -> None:
    document = {"steps": {"a": ECHO}}
    answers = [await client.post(PATH, json=document, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert len({answer.json()["workflow_id"] for answer in answers}) == 1
    assert len(world.log.records[topics.INTAKE]) == 1


@pytest.mark.parametrize(
    ("steps", "pointer"),
    [
        ({"a": ECHO | {"depends_on": ["a"]}}, "/steps/a"),
        ({"a": ECHO | {"depends_on": ["z"]}}, "/steps/a/depends_on/0"),
        ({"a": {"type": "chat", "payload": {"text": "x"}}}, "/steps/a/type"),
    ],
)
async def test_what_cannot_be_is_said_before_it_is_accepted(
    world: MemoryWorld, client: httpx.AsyncClient, steps: dict[str, Any], pointer: str
) -> None:
    body = problem(await client.post(PATH, json={"steps": steps}), 422, "invalid-request")
    assert [error["pointer"] for error in body["errors"]] == [pointer]
    assert not world.log.records[topics.INTAKE]


async def test_a_cancel_asks_for_every_unfinished_step(world: MemoryWorld, client: httpx.AsyncClient) -> None:
    await client.post(PATH, json=DOCUMENT)
    await take_in(world)
    world.happens(TaskStarted(task_id="w:a", occurred_at=AT, epoch=1, sequence=1, attempt=1, worker="w"))
    world.happens(
        TaskCompleted(task_id="w:a", occurred_at=AT, epoch=1, sequence=2, attempt=1, result="1", duration_seconds=1)
    )
    response = await client.delete(f"{PATH}/w")
    assert (response.status_code, response.json()["status"]) == (202, WorkflowStatus.RUNNING)
    assert [command.task_id for command in world.log.commands] == ["w:b"]
    world.happens(TaskCancelled(task_id="w:b", occurred_at=AT, sequence=2, reason="requested"))
    again = await client.delete(f"{PATH}/w")
    assert (again.status_code, again.json()["status"]) == (200, "cancelled")


async def test_nobody_s_workflow_is_not_found(client: httpx.AsyncClient) -> None:
    for name in ("nobody", "no:label"):
        problem(await client.get(f"{PATH}/{name}"), 404, "workflow-not-found")


async def test_a_retried_task_waits_again_for_what_it_depends_on(world: MemoryWorld, client: httpx.AsyncClient) -> None:
    await client.post(PATH, json=DOCUMENT)
    await take_in(world)
    world.happens(TaskCancelled(task_id="w:b", occurred_at=AT, sequence=2, reason="requested"))
    assert (await client.post("/api/v1/tasks/w:b/retry")).status_code == 202
    hold = world.log.records[topics.LIFECYCLE][-1]
    assert isinstance(hold, TaskHeld)
    assert (hold.run, hold.reason, hold.until) == (2, "dependencies", None)
    assert world.log.submissions == [task for task in world.log.submissions if task.task_id == "w:a"]


async def test_a_schedule_is_made_once_listed_and_removed(client: httpx.AsyncClient) -> None:
    document = {"id": "s", "cron": "0 3 * * *", "time_zone": "Europe/Berlin", "submission": ECHO}
    created = await client.post("/api/v1/schedules", json=document)
    assert (created.status_code, created.headers["location"]) == (201, "/api/v1/schedules/s")
    assert (await client.post("/api/v1/schedules", json=document)).status_code == 200
    problem(await client.post("/api/v1/schedules", json=document | {"cron": "1 3 * * *"}), 409, "schedule-id-taken")
    (listed,) = (await client.get("/api/v1/schedules")).json()["schedules"]
    assert (listed["schedule_id"], listed["submission"]) == ("s", ECHO)
    assert listed["next_at"] is not None
    assert (await client.delete("/api/v1/schedules/s")).json() == {"schedules": []}
    problem(await client.get("/api/v1/schedules/s"), 404, "schedule-not-found")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"cron": "x"}, "/cron"),
        ({"submission": {"type": "chat", "payload": {"text": "x"}}}, "/submission/type"),
        ({"submission": ECHO | {"id": "x"}}, "/submission/id"),
    ],
)
async def test_a_schedule_that_cannot_be_is_refused(
    client: httpx.AsyncClient, change: dict[str, Any], pointer: str
) -> None:
    document = {"cron": "0 3 * * *", "submission": ECHO} | change
    body = problem(await client.post("/api/v1/schedules", json=document), 422, "invalid-request")
    assert [error["pointer"] for error in body["errors"]] == [pointer]
