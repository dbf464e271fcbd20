"""A task's whole life, by the doors that users have."""

import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from penstock.installation import RunningSystem
from streams.topics import DEAD_LETTERS, INTAKE
from tests.support.foreign import headers_by_key, produce, until

BAD_RECORDS = [
    b"\x00\xff not json",
    b"\xc3\x01damaged!",
    b"{",
    b"[]",
    b'{"type": "no-such-type"}',
    b'{"type": "convert", "payload": {"source_format": "tea"}}',
    b'{"type": "custom", "payload": {}, "priority": 9}',
    b'{"type": "custom", "payload": {"function": "pause"}, "surprise": 1}',
    b"",
    b"null",
]


def custom(name: str, **args: object) -> dict[str, Any]:
    """A submission that calls one of `tests.support.user_functions`."""
    return {"type": "custom", "payload": {"function": name, "args": args}}


def at_its_end(http: httpx.Client, task_id: str, seconds: float = 120) -> dict[str, Any]:
    """The task once it is terminal."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        task: dict[str, Any] = http.get(f"/api/v1/tasks/{task_id}", params={"wait": 10}).raise_for_status().json()
        if task["status"] in {"completed", "failed", "cancelled", "rejected", "expired"}:
            return task
    raise TimeoutError(f"task {task_id} is still {task['status']}")


def until_status(http: httpx.Client, task_id: str, status: str, seconds: float = 90) -> dict[str, Any]:
    """The task once it has the status."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        task: dict[str, Any] = http.get(f"/api/v1/tasks/{task_id}").raise_for_status().json()
        if task["status"] == status:
            return task
    raise TimeoutError(f"task {task_id} is {task['status']}, not {status}")


def test_a_conversion_over_http(http: httpx.Client) -> None:
    payload = {"source_format": "json", "target_format": "yaml", "content": '{"a": [1, 2]}'}
    response = http.post("/api/v1/tasks", json={"type": "convert", "payload": payload})
    assert response.status_code == 202
    accepted = response.json()
    assert response.headers["Location"].endswith(accepted["task_id"])
    task = at_its_end(http, accepted["task_id"])
    assert task["status"] == "completed"
    assert task["result"]["converted_content"] == "a:\n- 1\n- 2\n"
    assert task["attempt"] == 1
    types = [event["type"] for event in http.get(f"/api/v1/tasks/{task['task_id']}/history").json()["events"]]
    assert types[0] == "task.submitted"
    assert types[-2:] == ["task.started", "task.completed"]


def test_a_foreign_producer_submits_json(system: RunningSystem, http: httpx.Client) -> None:
    task_id = f"foreign-{uuid.uuid4()}"
    submission = custom("pause", seconds=0) | {"id": task_id, "priority": "high"}
    produce(system.bootstrap_servers, INTAKE, [(None, json.dumps(submission).encode())])
    until(lambda: http.get(f"/api/v1/tasks/{task_id}").is_success, 30, "the task is known")
    assert at_its_end(http, task_id)["status"] == "completed"


def test_bad_records_become_dead_letters_and_block_nothing(system: RunningSystem, http: httpx.Client) -> None:
    tenant = f"mixed-{uuid.uuid4().hex[:8]}"
    good = json.dumps(custom("pause", seconds=0) | {"tenant": tenant}).encode()
    marker = uuid.uuid4().hex.encode()
    records: list[tuple[bytes | None, bytes]] = []
    for number in range(500):
        records += [(None, good), (marker, BAD_RECORDS[number % len(BAD_RECORDS)])]
    produce(system.bootstrap_servers, INTAKE, records)
    letters = headers_by_key(system.bootstrap_servers, DEAD_LETTERS, marker, 500, seconds=60)
    assert len(letters) == 500
    assert all(headers["penstock-reason"] for headers in letters)
    assert {headers["penstock-origin-topic"] for headers in letters} == {INTAKE.encode()}
    query = {"tenant": tenant, "status": "completed"}
    until(lambda: bool(http.get("/api/v1/tasks", params=query).json()["total"] == 500), 60, "500 completed")


def test_a_failing_task_is_retried_and_fails_in_the_end(http: httpx.Client) -> None:
    accepted = http.post("/api/v1/tasks", json=custom("fail", message="no luck") | {"max_retries": 2}).json()
    task = at_its_end(http, accepted["task_id"])
    assert task["status"] == "failed"
    assert task["attempt"] == 3
    assert "no luck" in task["error"]["detail"]


def test_a_failed_task_runs_again_by_hand(http: httpx.Client) -> None:
    accepted = http.post("/api/v1/tasks", json=custom("fail", message="once more") | {"max_retries": 0}).json()
    at_its_end(http, accepted["task_id"])
    assert http.post(f"/api/v1/tasks/{accepted['task_id']}/retry").status_code == 202
    until(lambda: bool(at_its_end(http, accepted["task_id"])["attempt"] == 2), 30, "the second run has ended")
    assert at_its_end(http, accepted["task_id"])["status"] == "failed"
    events = http.get(f"/api/v1/tasks/{accepted['task_id']}/history").json()["events"]
    assert [event["type"] for event in events].count("task.submitted") == 2


def test_a_running_task_is_cancelled_even_if_it_never_listens(http: httpx.Client) -> None:
    accepted = http.post("/api/v1/tasks", json=custom("spin")).json()
    until_status(http, accepted["task_id"], "running")
    assert http.delete(f"/api/v1/tasks/{accepted['task_id']}").status_code == 202
    assert at_its_end(http, accepted["task_id"])["status"] == "cancelled"


def test_a_task_that_takes_too_long_is_stopped(http: httpx.Client) -> None:
    accepted = http.post("/api/v1/tasks", json=custom("spin") | {"timeout": "1s", "max_retries": 0}).json()
    task = at_its_end(http, accepted["task_id"])
    assert task["status"] == "failed"
    assert task["error"]["code"] == "timeout"


def test_work_for_later_waits_and_runs(http: httpx.Client) -> None:
    run_at = datetime.now(UTC) + timedelta(seconds=3)
    accepted = http.post("/api/v1/tasks", json=custom("pause", seconds=0) | {"run_at": run_at.isoformat()}).json()
    task = at_its_end(http, accepted["task_id"])
    assert task["status"] == "completed"
    assert datetime.fromisoformat(task["started_at"]) >= run_at


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"type": 3}', b"\xff", b'{"type":"convert","payload":{"x":1}}'])
def test_bad_submissions_are_problems(http: httpx.Client, body: bytes) -> None:
    response = http.post("/api/v1/tasks", content=body, headers={"content-type": "application/json"})
    assert response.status_code in {400, 422}
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["title"]
