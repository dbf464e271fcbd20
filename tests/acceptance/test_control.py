"""Steering a running system, by the doors that operators have: command line and HTTP, taken in turns."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.test_life import at_its_end, custom, until_status
from tests.support.command import penstock
from tests.support.foreign import until

Command = Callable[..., str]
SECONDS = 120


@pytest.fixture
def command(system: object, data_dir: Path) -> Command:
    """Runs `penstock` on the session's system; what it prints."""

    def run(*words: str) -> str:
        result = penstock(*words, "--data", str(data_dir), cwd=data_dir, COLUMNS="200")
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


@pytest.fixture
def tenant(http: httpx.Client, command: Command) -> Iterator[str]:
    """Somebody of whose tasks one runs at a time; what a test that failed has left does not run on."""
    name = f"steered-{uuid.uuid4().hex[:8]}"
    command("limits", "set", "tenant", name, "--concurrency", "1")
    yield name
    http.post("/api/v1/tasks/cancel", json={"tenant": name}).raise_for_status()


def submit(http: httpx.Client, tenant: str, function: str = "pause", priority: str = "normal", **args: object) -> str:
    args = args or ({"seconds": 0} if function == "pause" else {})
    answer = http.post("/api/v1/tasks", json=custom(function, **args) | {"tenant": tenant, "priority": priority})
    found: str = answer.raise_for_status().json()["task_id"]
    return found


def why(http: httpx.Client, task_id: str) -> dict[str, Any]:
    found: dict[str, Any] = http.get(f"/api/v1/tasks/{task_id}/why").raise_for_status().json()
    return found


def places(http: httpx.Client, *task_ids: str) -> list[int | None]:
    return [why(http, task_id)["position"] for task_id in task_ids]


def status_of(http: httpx.Client, task_id: str) -> str:
    found: str = http.get(f"/api/v1/tasks/{task_id}").raise_for_status().json()["status"]
    return found


def first_held(http: httpx.Client, submitted: Callable[[], str]) -> str:
    """A task that its worker holds: the first one after the worker has heard why it should."""
    found: dict[str, str] = {}

    def held() -> bool:
        task_id = submitted()
        until(lambda: status_of(http, task_id) in {"held", "completed"}, SECONDS, "the worker has looked at it")
        found[status_of(http, task_id)] = task_id
        return "held" in found

    until(held, SECONDS, "a task is held")
    return found["held"]


def test_waiting_tasks_are_put_in_another_order_while_they_wait(
    http: httpx.Client, command: Command, tenant: str
) -> None:
    blocker = submit(http, tenant, "spin")
    until_status(http, blocker, "running")
    low, normal, high = (submit(http, tenant, priority=priority) for priority in ("low", "normal", "high"))
    until(lambda: places(http, low, normal, high) == [3, 2, 1], SECONDS, "they stand in line")
    until(lambda: why(http, low)["line"] == f"tenant {tenant}", SECONDS, "the limit is said to be the cause")
    sentence = command("why", low)
    assert sentence.startswith(f"It is third in line for tenant {tenant}, whose 1 slot is busy")

    command("strategy", "cpu", "fifo")
    until(lambda: worker_strategies(http) == {"fifo"}, SECONDS, "the workers go by it")
    until(lambda: places(http, low, normal, high) == [1, 2, 3], SECONDS, "they stand in the order in which they came")
    body = {"class": "cpu", "strategy": "priority"}
    assert http.put("/api/v1/scheduler/strategy", json=body).json() == body | {"options": {}}
    until(lambda: worker_strategies(http) == {"priority"}, SECONDS, "the workers go by that one")

    command("priority", low, "high")
    until(lambda: places(http, low, high, normal) == [1, 2, 3], SECONDS, "the priority has changed")
    assert http.delete(f"/api/v1/tasks/{blocker}").status_code == 202
    ended = [at_its_end(http, task_id) for task_id in (low, high, normal)]
    assert [task["status"] for task in ended] == ["completed"] * 3
    assert sorted(ended, key=lambda task: str(task["started_at"])) == ended
    for task_id in (low, high, normal):
        events = http.get(f"/api/v1/tasks/{task_id}/history").json()["events"]
        assert [event["type"] for event in events].count("task.started") == 1
        told = why(http, task_id)
        assert told["sentence"].startswith("It completed, after it waited")
        assert told["strategy"] == "priority"
        assert told["waited_ms"]["concurrency"] > 0


def worker_strategies(http: httpx.Client) -> set[str]:
    (found,) = (each for each in http.get("/api/v1/scheduler").json()["classes"] if each["class"] == "cpu")
    return {worker["strategy"] for worker in found["workers"]}


def test_a_paused_tenants_tasks_wait_until_it_is_resumed(http: httpx.Client, command: Command, tenant: str) -> None:
    body = {"scope": "tenant", "name": tenant, "reason": "unpaid"}
    assert http.post("/api/v1/scheduler/pause", json=body).status_code == 200
    task_id = first_held(http, lambda: submit(http, tenant))
    told = why(http, task_id)
    assert told["cause"] == "paused"
    assert told["sentence"].startswith(f"It waits until tenant {tenant} is resumed, which was paused by api at")
    other = submit(http, f"{tenant}-other")
    assert at_its_end(http, other)["status"] == "completed"
    assert http.get(f"/api/v1/tasks/{task_id}").json()["status"] == "held"
    command("resume", "tenant", tenant)
    assert at_its_end(http, task_id)["status"] == "completed"
    assert why(http, task_id)["waited_ms"]["paused"] > 0


def test_many_tasks_are_cancelled_at_once(http: httpx.Client, command: Command, tenant: str) -> None:
    blocker = submit(http, tenant, "spin")
    until_status(http, blocker, "running")
    waiting = [submit(http, tenant, priority="low") for _ in range(5)]
    listed = {"tenant": tenant, "status": "pending"}
    until(lambda: bool(http.get("/api/v1/tasks", params=listed).json()["total"] == 5), SECONDS, "all are known")
    assert command("cancel", "--tenant", tenant, "--dry-run") == "6 tasks would be cancelled\n"
    assert command("cancel", "--tenant", tenant, "--priority", "low").startswith("asked for the cancellation of 5 ")
    assert {at_its_end(http, task_id)["status"] for task_id in waiting} == {"cancelled"}
    assert http.get(f"/api/v1/tasks/{blocker}").json()["status"] == "running"
    command("cancel", blocker)
    assert at_its_end(http, blocker)["status"] == "cancelled"


def test_draining_ends_when_nothing_runs_any_more(http: httpx.Client, command: Command, tenant: str) -> None:
    running = submit(http, tenant, seconds=2)
    until_status(http, running, "running")
    assert "is drained" in command("drain", "tenant", tenant, "--timeout", str(SECONDS))
    assert at_its_end(http, running)["status"] == "completed"
    command("resume", "tenant", tenant)


def test_tasks_of_a_model_that_is_offline_wait_until_it_is_back(http: httpx.Client, command: Command) -> None:
    name = f"m-{uuid.uuid4().hex[:8]}"
    model = {"name": name, "type": "local", "config": {"model_path": "nowhere.gguf"}}
    number = http.post("/api/v1/models", json=model).raise_for_status().json()["id"]
    assert http.put(f"/api/v1/models/{number}/status", json={"status": "offline"}).json()["status"] == "offline"
    body = custom("pause", seconds=0) | {"model": name}
    task_id = first_held(http, lambda: str(http.post("/api/v1/tasks", json=body).raise_for_status().json()["task_id"]))
    assert why(http, task_id)["sentence"] == f"It is held until model {name} is online again."
    command("models", "online", name)
    assert at_its_end(http, task_id)["status"] == "completed"
    command("models", "remove", name)
