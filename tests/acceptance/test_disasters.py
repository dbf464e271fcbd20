"""Everything is killed, at moments that a seed chooses, while tasks are submitted by two doors."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer

from penstock.installation import Installation, RunningSystem
from penstock.settings import DEFAULT_CLASSES
from streams.topics import INTAKE
from tests.acceptance.test_life import at_its_end, custom
from tests.support.logbook import effective_ends, facts_by_task

SEED = int(os.environ.get("PENSTOCK_TEST_SEED", "1"))
#: Tasks of each of the two doors: PENSTOCK_TEST_TASKS=1000 is the size that a release is judged by.
TASKS_EACH_DOOR = int(os.environ.get("PENSTOCK_TEST_TASKS", "400"))
#: Low tasks before the high one; 10000 for a release.
LOW_TASKS = int(os.environ.get("PENSTOCK_TEST_LOW_TASKS", "1000"))
#: Kills, of which the first ones hit each role once. Not for as long as tasks are submitted: a slow machine, on which
#: that takes longer, would never have all roles at work.
STRIKES = int(os.environ.get("PENSTOCK_TEST_STRIKES", "12"))
VICTIMS = ["agents-cpu", "projector", "kafka", "postgres", "intake", "agents-io"]


def kill(data_dir: Path, role: str) -> None:
    """SIGKILL the process that plays a role now."""
    playing = Installation(data_dir).running().roles.get(role)
    if playing is not None and playing.is_ready:
        os.kill(playing.pid, signal.SIGKILL)


def submission(number: int, tenant: str, api_url: str) -> dict[str, object]:
    """Mixed work of two classes and every priority: conversions, functions, HTTP requests to the system itself."""
    work: dict[str, object]
    if number % 5 == 4:
        work = {"type": "api_request", "payload": {"method": "GET", "url": f"{api_url}/health"}}
    elif number % 3 == 0:
        payload = {"source_format": "json", "target_format": "yaml", "content": json.dumps({"number": number})}
        work = {"type": "convert", "payload": payload}
    else:
        work = custom("pause", seconds=0.01 * (number % 4))
    return work | {"tenant": tenant, "priority": 1 + number % 3, "max_retries": 10}


async def submit_over_http(api_url: str, tenant: str) -> list[str]:
    """Every task is accepted in the end: an answer that is not 202 is repeated with the same key."""
    ids = []
    async with httpx.AsyncClient(base_url=api_url, timeout=30, trust_env=False) as client:
        for number in range(TASKS_EACH_DOOR):
            key = f"{tenant}-{number}"
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                try:
                    response = await client.post(
                        "/api/v1/tasks", json=submission(number, tenant, api_url), headers={"Idempotency-Key": key}
                    )
                except httpx.TransportError:
                    await asyncio.sleep(0.2)
                    continue
                if response.status_code in {200, 202}:
                    ids.append(response.json()["task_id"])
                    break
                assert response.status_code in {429, 503}, response.text
                await asyncio.sleep(0.2)
    return ids


async def submit_to_the_log(bootstrap_servers: str, tenant: str, api_url: str) -> list[str]:
    """A foreign producer with acks=all, which repeats what the broker did not take."""
    ids = [f"{tenant}-log-{number}" for number in range(TASKS_EACH_DOOR)]
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all", request_timeout_ms=60_000)
    await producer.start()
    try:
        for number, task_id in enumerate(ids):
            value = json.dumps(submission(number, tenant, api_url) | {"id": task_id}).encode()
            await producer.send_and_wait(INTAKE, value, key=task_id.encode())
    finally:
        await producer.stop()
    return ids


async def strike(data_dir: Path, chance: random.Random) -> list[str]:
    """Kill one role after the other, each after a while."""
    struck = VICTIMS + [chance.choice(VICTIMS) for _ in range(STRIKES - len(VICTIMS))]
    for victim in struck:
        await asyncio.sleep(chance.uniform(1.0, 4.0))
        kill(data_dir, victim)
    return struck


@pytest.mark.timeout(900)
async def test_every_task_ends_once_whatever_is_killed(system: RunningSystem, data_dir: Path) -> None:
    tenant = f"disaster-{uuid.uuid4().hex[:8]}"
    struck, over_http, to_the_log = await asyncio.gather(
        strike(data_dir, random.Random(SEED)),
        submit_over_http(system.api_url, tenant),
        submit_to_the_log(system.bootstrap_servers, tenant, system.api_url),
    )
    ids = over_http + to_the_log
    assert len(set(ids)) == 2 * TASKS_EACH_DOOR
    await all_ended(system.api_url, tenant, len(ids), struck)
    facts = await facts_by_task(system.bootstrap_servers, list(DEFAULT_CLASSES))
    ends = {task_id: effective_ends(task_id, facts[task_id]) for task_id in ids}
    assert {task_id: found for task_id, found in ends.items() if found != ["completed"]} == {}, f"seed {SEED}"
    assert verify(data_dir) == 0


async def all_ended(api_url: str, tenant: str, wanted: int, struck: list[str]) -> None:
    """Wait until the read model says that every task has completed."""
    deadline = time.monotonic() + 400
    total = -1
    async with httpx.AsyncClient(base_url=api_url, timeout=30, trust_env=False) as client:
        while time.monotonic() < deadline:
            try:
                response = await client.get("/api/v1/tasks", params={"tenant": tenant, "status": "completed"})
            except httpx.TransportError:
                continue
            if response.is_success and (total := response.json()["total"]) == wanted:
                return
            await asyncio.sleep(0.2)
    raise TimeoutError(f"{total} of {wanted} completed; seed {SEED}, struck {struck}")


def verify(data_dir: Path) -> int:
    """Exit code of `penstock replay --verify`."""
    command = [sys.executable, "-m", "penstock", "replay", "--verify", "--data", str(data_dir)]
    return subprocess.run(command, check=False, timeout=300).returncode


@pytest.mark.timeout(600)
def test_a_task_that_kills_its_worker_fails_alone(system: RunningSystem, http: httpx.Client, data_dir: Path) -> None:
    neighbours = [
        http.post("/api/v1/tasks", json=custom("pause", seconds=0.2)).raise_for_status().json()["task_id"]
        for _ in range(20)
    ]
    killer = http.post("/api/v1/tasks", json=custom("kill_worker") | {"max_retries": 2}).json()["task_id"]
    neighbours += [
        http.post("/api/v1/tasks", json=custom("pause", seconds=0.2)).raise_for_status().json()["task_id"]
        for _ in range(20)
    ]
    task = at_its_end(http, killer, seconds=180)
    assert (task["status"], task["attempt"], task["error"]["code"]) == ("failed", 3, "attempt_lost")
    assert {at_its_end(http, each, seconds=120)["status"] for each in neighbours} == {"completed"}
    assert verify(data_dir) == 0


@pytest.mark.timeout(600)
def test_a_high_priority_task_starts_next(http: httpx.Client) -> None:
    """Not before the low ones that start while it is read, but before all that wait."""
    tenant = f"busy-{uuid.uuid4().hex[:8]}"
    low = custom("pause", seconds=0.2) | {"tenant": tenant, "priority": "low"}
    for _ in range(LOW_TASKS):
        http.post("/api/v1/tasks", json=low).raise_for_status()
    high = http.post("/api/v1/tasks", json=custom("pause", seconds=0) | {"priority": "high"}).json()["task_id"]
    task = at_its_end(http, high)
    low_tasks = all_of(http, tenant)
    # What is left of them shall not keep the tests that follow waiting.
    http.post("/api/v1/tasks/cancel", json={"tenant": tenant}).raise_for_status()
    overtook = [
        each
        for each in low_tasks
        if each["started_at"] and task["submitted_at"] < each["started_at"] < task["started_at"]
    ]
    behind = [each for each in low_tasks if not each["started_at"] or each["started_at"] > task["started_at"]]
    assert len(low_tasks) == LOW_TASKS
    assert len(overtook) < 50
    assert len(behind) > LOW_TASKS // 10, "the worker was not busy enough to tell"


def all_of(http: httpx.Client, tenant: str) -> list[dict[str, Any]]:
    """Every task of a tenant."""
    pages = range(1, LOW_TASKS // 100 + 2)
    url = f"/api/v1/tasks?tenant={tenant}&page_size=100&page="
    return [task for page in pages for task in http.get(f"{url}{page}").raise_for_status().json()["tasks"]]
