"""Accepting work over HTTP."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api import queues
from api.app import create_app
from domain.states import TaskStatus
from schemas.events import TaskCompleted, TaskStarted
from streams import topics
from tests.support.callers import calling, problem
from tests.support.memory_world import MemoryWorld

PATH = "/api/v1/tasks"
ECHO = {"type": "echo", "payload": {"text": "hello"}}
JSON = {"content-type": "application/json"}


async def test_a_submission_is_answered_once_the_log_has_it(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    answer = await client.post(PATH, json=ECHO)
    assert answer.status_code == 202
    (task,) = world.log.submissions
    assert answer.json() == {"task_id": task.task_id, "status": "submitted"}
    assert answer.headers["location"] == f"{PATH}/{task.task_id}"
    assert (task.type, task.resource_class, task.payload, task.source) == ("echo", "cpu", '{"text":"hello"}', "http")


async def test_the_log_gets_it_on_the_topic_of_its_class_and_band(
    client: httpx.AsyncClient, world: MemoryWorld
) -> None:
    await client.post(PATH, json=ECHO | {"priority": "high"})
    await client.post(PATH, json={"type": "fetch", "payload": {"url": "x"}, "priority": 1})
    assert [name for name, records in world.log.records.items() if records] == ["tasks-cpu-high", "tasks-io-low"]


async def test_work_for_later_goes_to_intake_and_reads_as_held(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    run_at = datetime.now(UTC) + timedelta(hours=1)
    answer = await client.post(PATH, json=ECHO | {"run_at": run_at.isoformat()})
    assert answer.status_code == 202
    assert answer.json()["status"] == "held"
    assert not world.log.submissions
    assert world.log.records[topics.INTAKE][0].run_at == run_at
    task = (await client.get(answer.headers["location"])).json()
    assert (task["status"], datetime.fromisoformat(task["held_until"])) == ("held", run_at)


async def test_the_trace_context_goes_with_the_task_unless_it_is_broken(
    client: httpx.AsyncClient, world: MemoryWorld
) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await client.post(PATH, json=ECHO, headers={"traceparent": trace})
    await client.post(PATH, json=ECHO, headers={"traceparent": "00-junk"})
    assert [task.traceparent for task in world.log.submissions] == [trace, None]


async def test_flaws_come_with_json_pointers(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    document = {"type": "echo", "payload": {"times": "often"}, "priority": 9, "colour": "red"}
    body = problem(await client.post(PATH, json=document), 422, "invalid-request")
    assert {flaw["pointer"] for flaw in body["errors"]} == {"/priority", "/colour"}
    body = problem(
        await client.post(PATH, json={"type": "echo", "payload": {"times": "often"}}), 422, "invalid-request"
    )
    assert {flaw["pointer"] for flaw in body["errors"]} == {"/payload/text", "/payload/times"}
    assert not world.log.submissions


async def test_a_type_whose_class_has_no_topics_is_refused(client: httpx.AsyncClient) -> None:
    body = problem(await client.post(PATH, json=ECHO | {"type": "chat"}), 422, "invalid-request")
    assert body["errors"][0]["pointer"] == "/type"


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
async def test_what_is_no_json_is_an_unsupported_media_type(client: httpx.AsyncClient, media_type: str) -> None:
    headers = {"content-type": media_type} if media_type else {}
    problem(await client.post(PATH, content=json.dumps(ECHO), headers=headers), 415, "unsupported-media-type")


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=utf-8", "application/vnd.me+json", "Application/JSON"]
)
async def test_json_has_many_names(client: httpx.AsyncClient, media_type: str) -> None:
    answer = await client.post(PATH, content=json.dumps(ECHO), headers={"content-type": media_type})
    assert answer.status_code == 202


async def test_encodings_that_are_not_understood_are_unsupported(client: httpx.AsyncClient) -> None:
    for headers in ({"content-encoding": "gzip"}, {"content-type": "application/json; charset=utf-16"}):
        answer = await client.post(PATH, content=json.dumps(ECHO), headers=JSON | headers)
        problem(answer, 415, "unsupported-media-type")


async def test_a_large_body_is_refused_by_its_claim_and_by_its_bytes(client: httpx.AsyncClient) -> None:
    large = json.dumps(ECHO | {"metadata": {"x": "x" * 1024 * 1024}}).encode()
    problem(await client.post(PATH, content=large, headers=JSON), 413, "body-too-large")
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while True:
            sent += 65536
            yield b" " * 65536

    problem(await client.post(PATH, content=endless(), headers=JSON), 413, "body-too-large")
    assert sent < 3 * 1024 * 1024


async def test_a_body_that_grows_too_large_when_it_is_written_out_is_refused(
    client: httpx.AsyncClient, world: MemoryWorld
) -> None:
    numbers = b",".join([b"1e15"] * 100_000)
    large = b'{"type":"echo","run_at":"2999-01-01T00:00:00Z","payload":{"text":"x","n":[' + numbers + b"]}}"
    problem(await client.post(PATH, content=large, headers=JSON), 413, "body-too-large")
    assert not any(world.log.records.values())


async def test_a_log_that_does_not_acknowledge_is_an_outage(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    world.log.down = True
    answer = await client.post(PATH, json=ECHO)
    problem(answer, 503, "log-unavailable")
    assert int(answer.headers["retry-after"]) > 0
    world.log.down = False
    assert (await client.post(PATH, json=ECHO)).status_code == 202


async def test_the_log_takes_work_while_the_read_model_is_away(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    world.read_model.down = True
    for headers in ({}, {"idempotency-key": "k"}):
        assert (await client.post(PATH, json=ECHO, headers=headers)).status_code == 202
    problem(await client.get(PATH), 503, "read-model-unavailable")
    world.read_model.down = False
    assert (await client.get(PATH)).json()["total"] == 2


async def test_a_read_model_that_hangs_does_not_hold_up_the_log(
    world: MemoryWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(queues, "LOOK_SECONDS_MAX", 0.05)
    for name in ("queue", "task", "projected"):
        monkeypatch.setattr(world.read_model, name, hang)
    async with calling(create_app(world.deps)) as caller:
        answer = await asyncio.wait_for(caller.post(PATH, json=ECHO, headers={"idempotency-key": "k"}), 10)
    assert answer.status_code == 202


async def test_the_same_key_is_the_same_task(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    first = await client.post(PATH, json=ECHO, headers={"idempotency-key": "order 7"})
    again = await client.post(PATH, json=ECHO, headers={"idempotency-key": '"order 7"'})
    other = await client.post(PATH, json=ECHO, headers={"idempotency-key": "order 8"})
    tenant = await client.post(PATH, json=ECHO | {"tenant": "b"}, headers={"idempotency-key": "order 7"})
    assert first.status_code == again.status_code == 202
    assert first.json()["task_id"] == again.json()["task_id"]
    assert len({answer.json()["task_id"] for answer in (first, other, tenant)}) == 3
    assert len(world.log.submissions) == 3


async def test_a_repeat_says_how_the_task_is_now(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    task_id = (await client.post(PATH, json=ECHO, headers={"idempotency-key": "k"})).json()["task_id"]
    at = datetime.now(UTC)
    started = TaskStarted(task_id=task_id, occurred_at=at, epoch=1, sequence=1, attempt=1, worker="w")
    done = TaskCompleted(
        task_id=task_id, occurred_at=at, epoch=1, sequence=2, attempt=1, result="{}", duration_seconds=1
    )
    world.happens(started, done)
    # A look at it makes the process forget what it accepted: the read model has it.
    assert (await client.get(f"{PATH}/{task_id}")).json()["status"] == "completed"
    again = await client.post(PATH, json=ECHO, headers={"idempotency-key": "k"})
    assert again.json() == {"task_id": task_id, "status": "completed"}
    assert len(world.log.submissions) == 1


async def test_a_key_with_another_body_is_refused(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    await client.post(PATH, json=ECHO, headers={"idempotency-key": "k"})
    changed = ECHO | {"payload": {"text": "bye"}, "max_retries": 1}
    body = problem(
        await client.post(PATH, json=changed, headers={"idempotency-key": "k"}), 422, "idempotency-key-reused"
    )
    assert {flaw["pointer"] for flaw in body["errors"]} == {"/payload", "/max_retries"}
    assert len(world.log.submissions) == 1


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "café"])
async def test_a_key_that_cannot_be_one_is_a_bad_request(client: httpx.AsyncClient, key: str) -> None:
    headers = httpx.Headers([(b"idempotency-key", key.encode())])
    problem(await client.post(PATH, json=ECHO, headers=headers), 400, "bad-idempotency-key")


async def test_an_id_of_ones_own_is_the_same_task(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    for _ in range(2):
        answer = await client.post(PATH, json=ECHO | {"id": "mine-1"})
        assert (answer.status_code, answer.json()["task_id"]) == (202, "mine-1")
    assert len(world.log.submissions) == 1
    body = problem(await client.post(PATH, json=ECHO | {"id": "mine-1", "priority": 3}), 409, "task-id-taken")
    assert body["errors"] == [{"pointer": "/priority", "detail": "differs from the first request"}]


async def test_concurrent_callers_with_one_key_make_one_task(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    world.log.gate = asyncio.Event()
    calls = [asyncio.create_task(client.post(PATH, json=ECHO, headers={"idempotency-key": "k"})) for _ in range(50)]
    for _ in range(20):
        await asyncio.sleep(0)
    world.log.gate.set()
    answers = await asyncio.gather(*calls)
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["task_id"] for answer in answers}) == 1
    assert len(world.log.submissions) == 1


async def test_a_key_survives_a_restart_while_the_projector_lags(world: MemoryWorld) -> None:
    async with calling(create_app(world.deps)) as before:
        first = (await before.post(PATH, json=ECHO, headers={"idempotency-key": "k"})).json()
    world.read_model.projecting = False
    async with calling(create_app(world.deps)) as after:
        call = asyncio.create_task(after.post(PATH, json=ECHO, headers={"idempotency-key": "k"}))
        while not world.read_model.calls["projected"]:
            await asyncio.sleep(0.001)
        world.read_model.projecting = True
        assert (await call).json() == first
        changed = await after.post(PATH, json=ECHO | {"model": "m"}, headers={"idempotency-key": "k"})
        problem(changed, 422, "idempotency-key-reused")
    assert len(world.log.submissions) == 1


async def test_a_run_at_that_has_passed_since_does_not_make_another_request(
    client: httpx.AsyncClient, world: MemoryWorld
) -> None:
    soon = datetime.now(UTC) + timedelta(milliseconds=150)
    document = ECHO | {"id": "later", "run_at": soon.isoformat()}
    assert (await client.post(PATH, json=document)).json()["status"] == "held"
    while datetime.now(UTC) <= soon:
        await asyncio.sleep(0.01)
    again = await client.post(PATH, json=document)
    assert (again.status_code, again.json()["status"]) == (202, str(TaskStatus.HELD))
    assert not world.log.submissions


async def test_two_hundred_callers_at_once_are_all_answered(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    answers = await asyncio.gather(*(client.post(PATH, json=ECHO) for _ in range(200)))
    assert [answer.status_code for answer in answers] == [202] * 200
    assert len({task.task_id for task in world.log.submissions}) == 200
    assert world.read_model.calls["queue"] <= 4
