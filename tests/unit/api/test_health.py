"""Alive, ready, and how each part is."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api import health
from api.app import create_app
from tests.support.callers import calling, problem
from tests.support.memory_world import MemoryWorld


@pytest.fixture(autouse=True)
def _always_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at every request, so that a change shows at once."""
    monkeypatch.setattr(health, "AGE_SECONDS_MAX", -1.0)


async def test_a_process_that_answers_is_alive_whatever_else_is_down(
    client: httpx.AsyncClient, world: MemoryWorld
) -> None:
    world.broker.down = world.read_model.down = world.log.down = True
    answer = await client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "up")


async def test_ready_when_all_is_at_work(client: httpx.AsyncClient) -> None:
    answer = await client.get("/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert set(answer.json()["components"]) == {"log", "database", "projector", "agents-cpu", "agents-io", "intake"}


async def test_not_ready_names_what_is_missing(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    world.broker.group_members["agents-io"] = 0
    body = problem(await client.get("/ready"), 503, "not-ready")
    assert body["missing"] == ["agents-io"]
    world.read_model.down = True
    body = problem(await client.get("/ready"), 503, "not-ready")
    assert set(body["missing"]) == {"agents-io", "database", "projector"}
    world.broker.down = True
    body = problem(await client.get("/ready"), 503, "not-ready")
    assert {"log", "agents-cpu", "agents-io", "database"} <= set(body["missing"])


async def test_tasks_run_without_intake(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    world.broker.group_members["intake"] = 0
    assert (await client.get("/ready")).status_code == 200
    parts = (await client.get("/api/v1/system/health")).json()["components"]
    assert parts["intake"]["status"] == "down"


async def test_only_the_classes_that_are_started_must_be_at_work() -> None:
    world = MemoryWorld(ready_classes=("cpu",))
    world.broker.group_members["agents-io"] = 0
    async with calling(create_app(world.deps)) as client:
        assert (await client.get("/ready")).status_code == 200


@pytest.mark.parametrize("seen_at", [None, datetime.now(UTC) - timedelta(minutes=1)])
async def test_a_projector_without_a_sign_of_life_is_down(
    client: httpx.AsyncClient, world: MemoryWorld, seen_at: datetime | None
) -> None:
    world.read_model.seen_at = seen_at
    assert problem(await client.get("/ready"), 503, "not-ready")["missing"] == ["projector"]


async def test_a_projector_that_is_behind_and_does_not_move_is_stalled() -> None:
    world = MemoryWorld(stall_seconds_max=0.0)
    world.read_model.projecting = False
    world.read_model.seen_at = datetime.now(UTC) + timedelta(minutes=1)
    async with calling(create_app(world.deps)) as client:
        assert (await client.get("/ready")).status_code == 200
        await client.post("/api/v1/tasks", json={"type": "echo", "payload": {"text": "x"}})
        body = problem(await client.get("/ready"), 503, "not-ready")
        assert "stalled" in body["detail"]
        parts = (await client.get("/api/v1/system/health")).json()["components"]
        assert (parts["projector"]["status"], parts["projector"]["lag"]) == ("down", 1)


async def test_the_lag_of_each_group_is_told(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    world.broker.lags = {"agents-cpu": 7, "intake": 3}
    answer = await client.get("/api/v1/system/health")
    parts = answer.json()["components"]
    assert (parts["agents-cpu"]["lag"], parts["agents-io"]["lag"], parts["intake"]["lag"]) == (7, 0, 3)


async def test_the_parts_are_not_asked_at_every_request(
    client: httpx.AsyncClient, world: MemoryWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "AGE_SECONDS_MAX", 60.0)
    for _ in range(5):
        await client.get("/ready")
    assert world.broker.calls["members"] == 1
