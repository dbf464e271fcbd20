"""The control routes: what they record, what they answer, and what they refuse."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from api import configuring
from api.app import create_app
from domain.dispatch_status import Closure, Dispatcher, LaneStatus
from domain.line import Line, Queue
from domain.strategies.choice import NAMES, StrategyChoice
from schemas.commands import CancelTask, ChangePriority
from schemas.configuration import DispatchPaused, DispatchResumed, LimitSet, StrategySelected
from schemas.events import TaskPriorityChanged, TaskStarted
from tests.support.callers import calling, problem
from tests.support.memory_world import MemoryWorld

TASKS = "/api/v1/tasks"
SCHEDULER = "/api/v1/scheduler"
AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


async def submitted(client: httpx.AsyncClient, **more: Any) -> str:
    answer = await client.post(TASKS, json={"type": "echo", "payload": {"text": "x"}, **more})
    found: str = answer.json()["task_id"]
    return found


def started(task_id: str) -> TaskStarted:
    return TaskStarted(
        task_id=task_id,
        occurred_at=AT,
        epoch=1,
        sequence=1,
        attempt=1,
        worker="w",
        waited_ms={"priority": 30_000, "concurrency": 11_000},
        strategy="fair",
    )


async def test_a_strategy_is_selected_for_one_class_and_holds_when_it_is_answered(
    client: httpx.AsyncClient, world: MemoryWorld
) -> None:
    body = {"class": "cpu", "strategy": "fair", "options": {"cost": "seconds"}}
    answer = await client.put(SCHEDULER + "/strategy", json=body)
    assert (answer.status_code, answer.json()) == (200, body)
    (change,) = world.registry.changes
    assert isinstance(change, StrategySelected)
    assert (change.resource_class, change.strategy, change.changed_by) == ("cpu", "fair", "api")
    listed = (await client.get(SCHEDULER + "/strategy")).json()
    assert listed["classes"] == [body, {"class": "io", "strategy": "priority", "options": {}}]
    assert listed["available"] == NAMES


async def test_the_route_of_the_seed_sets_every_class_in_one_change(
    client: httpx.AsyncClient, world: MemoryWorld
) -> None:
    answer = await client.put("/scheduler/strategy", json={"strategy": "round_robin", "time_slice": 1.0})
    assert answer.status_code == 200
    assert (answer.json()["strategy"], answer.json()["time_slice"]) == ("round_robin", 1.0)
    expected = StrategyChoice("round_robin", {"time_slice_seconds": 1.0})
    assert [world.registry.configuration.strategy_of(name) for name in ("cpu", "io")] == [expected, expected]
    assert len({change.change_id for change in world.registry.changes}) == 1
    assert len({change.event_id for change in world.registry.changes}) == 2


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/api/v1/scheduler/strategy", {"class": "gpu", "strategy": "fifo"}, "no class 'gpu'; there are cpu, io"),
        ("/api/v1/scheduler/strategy", {"class": "cpu", "strategy": "fastest"}, "no strategy 'fastest'"),
        ("/api/v1/scheduler/strategy", {"class": "cpu", "strategy": "fair", "options": {"quantum": 0}}, "quantum"),
        ("/api/v1/scheduler/strategy", {"strategy": "fifo"}, "/class"),
        ("/scheduler/strategy", {"strategy": "fastest"}, "no strategy 'fastest'"),
        ("/scheduler/strategy", {"strategy": "fifo", "time_slice": 0}, "/time_slice"),
        ("/api/v1/limits/tenant/a", {}, "concurrency, requests_per_minute or tokens_per_minute"),
        ("/api/v1/limits/tenant/a", {"concurrency": None}, "DELETE lifts"),
        ("/api/v1/limits/tenant/a", {"concurrency": -1}, "/concurrency"),
        ("/api/v1/limits/tenant/a", {"concurrency": 2**63}, "/concurrency"),
        ("/api/v1/limits/tenant/a", {"tokens_per_minute": 10**30}, "/tokens_per_minute"),
        ("/api/v1/tenants/a/weight", {"weight": 0}, "/weight"),
    ],
)
async def test_what_cannot_hold_is_refused_and_not_recorded(
    client: httpx.AsyncClient, world: MemoryWorld, path: str, body: dict[str, Any], says: str
) -> None:
    assert says in problem(await client.put(path, json=body), 422, "invalid-request")["detail"]
    assert not world.registry.changes


async def test_a_change_is_no_lie_while_this_process_does_not_hear_of_it(
    client: httpx.AsyncClient, world: MemoryWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuring, "APPLIED_SECONDS_MAX", 0.01)
    world.registry.reading = False
    problem(await client.get(SCHEDULER + "/strategy"), 503, "log-unavailable")
    world.registry.reading = True
    world.log.down = True
    problem(
        await client.put(SCHEDULER + "/strategy", json={"class": "cpu", "strategy": "fifo"}), 503, "log-unavailable"
    )


@pytest.mark.parametrize("how", ["pause", "drain"])
async def test_a_class_a_model_or_a_tenant_is_paused_and_resumed(
    client: httpx.AsyncClient, world: MemoryWorld, how: str
) -> None:
    tenant = {"scope": "tenant", "name": "newsroom", "reason": "unpaid"}
    for body in (tenant, {"scope": "class", "name": "cpu"}, {"scope": "model", "name": "qwen"}):
        assert (await client.post(f"{SCHEDULER}/{how}", json=body)).status_code == 200
    paused = (await client.get(SCHEDULER + "/pauses")).json()["pauses"]
    assert [(each["scope"], each["name"], each["drain"]) for each in paused] == [
        ("class", "cpu", how == "drain"),
        ("model", "qwen", how == "drain"),
        ("tenant", "newsroom", how == "drain"),
    ]
    assert paused[-1]["reason"] == "unpaid"
    left = (await client.post(SCHEDULER + "/resume", json=tenant)).json()["pauses"]
    assert [each["scope"] for each in left] == ["class", "model"]
    assert [type(change) for change in world.registry.changes] == [*[DispatchPaused] * 3, DispatchResumed]


async def test_only_what_exists_can_be_paused_by_class(client: httpx.AsyncClient) -> None:
    answer = await client.post(SCHEDULER + "/pause", json={"scope": "class", "name": "gpu"})
    assert problem(answer, 422, "invalid-request")["errors"][0]["pointer"] == "/name"


async def test_a_limit_is_set_replaced_and_lifted(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    path = "/api/v1/limits/provider/kimi"
    problem(await client.get(path), 404, "not-found")
    first = await client.put(path, json={"concurrency": 3, "requests_per_minute": 200})
    nothing = {"tokens_per_minute": None}
    key = {"scope": "provider", "name": "kimi"}
    assert first.json() == key | {"concurrency": 3, "requests_per_minute": 200} | nothing
    second = await client.put(path, json={"concurrency": 4})
    assert second.json() == key | {"concurrency": 4, "requests_per_minute": None} | nothing
    assert (await client.get("/api/v1/limits")).json() == {"limits": [(await client.get(path)).json()]}
    assert (await client.delete(path)).json() == {"limits": []}
    last = world.registry.changes[-1]
    assert isinstance(last, LimitSet)
    assert (last.concurrency, last.requests_per_minute, last.tokens_per_minute) == (None, None, None)
    problem(await client.put("/api/v1/limits/galaxy/a", json={"concurrency": 1}), 404, "not-found")


async def test_a_weight_is_1_until_it_is_given(client: httpx.AsyncClient) -> None:
    path = "/api/v1/tenants/newsroom/weight"
    assert (await client.get(path)).json() == {"tenant": "newsroom", "weight": 1.0}
    assert (await client.put(path, json={"weight": 2})).json() == {"tenant": "newsroom", "weight": 2.0}
    assert (await client.get(SCHEDULER)).json()["weights"] == {"newsroom": 2.0}


async def test_the_overview_shows_what_the_workers_say(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    closed = Closure("rate_limit", "provider", "kimi", AT)
    lane = LaneStatus("k2", "kimi", "echo", "a", waiting=5, running=1, closed_by=closed, mean_seconds=2.0)
    world.read_model.workers = [Dispatcher("w1", "cpu", AT, 2, 1, "fair", (lane,))]
    for scope, name in (("class", "cpu"), ("model", "k2"), ("tenant", "a"), ("tenant", "b")):
        await client.post(SCHEDULER + "/drain", json={"scope": scope, "name": name})
    assert [each["running"] for each in (await client.get(SCHEDULER)).json()["pauses"]] == [1, 1, 1, 0]
    cpu, io = (await client.get(SCHEDULER)).json()["classes"]
    assert (cpu["class"], cpu["slots"], cpu["running"], cpu["waiting"]) == ("cpu", 2, 1, 5)
    (shown,) = cpu["workers"][0]["lanes"]
    assert (shown["type"], shown["closed_by"]["cause"], shown["closed_by"]["until"]) == (
        *("echo", "rate_limit", "2026-11-21T09:30:00Z"),
    )
    assert io["workers"] == []


@pytest.mark.parametrize("priority", [3, "high"])
async def test_another_priority_is_asked_of_the_owner(
    client: httpx.AsyncClient, world: MemoryWorld, priority: object
) -> None:
    task_id = await submitted(client)
    answer = await client.put(f"{TASKS}/{task_id}/priority", json={"priority": priority, "reason": "the boss asked"})
    assert (answer.status_code, answer.json()) == (202, {"task_id": task_id, "status": "submitted"})
    (command,) = world.log.commands
    assert isinstance(command, ChangePriority)
    assert (command.priority, command.run, command.reason) == (3, 1, "the boss asked")


async def test_nothing_is_asked_of_a_task_that_has_the_priority(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    task_id = await submitted(client)
    world.happens(
        TaskPriorityChanged(task_id=task_id, occurred_at=AT, epoch=1, sequence=1, priority=3, reason="requested")
    )
    assert (await client.put(f"{TASKS}/{task_id}/priority", json={"priority": 3})).status_code == 200
    assert (await client.put(f"{TASKS}/{task_id}/priority", json={"priority": 2})).status_code == 202
    assert len(world.log.commands) == 1


async def test_a_task_that_runs_keeps_its_priority(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    task_id = await submitted(client)
    world.happens(started(task_id))
    answer = await client.put(f"{TASKS}/{task_id}/priority", json={"priority": 3})
    assert "only a task that waits" in problem(answer, 409, "state-forbids")["detail"]


async def test_tasks_are_cancelled_by_what_they_are_page_by_page(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    mine = {await submitted(client, tenant="mine", priority=1) for _ in range(5)}
    await submitted(client, tenant="mine")
    await submitted(client, tenant="other", priority=1)
    picked = {"tenant": "mine", "priority": "low"}
    counted = (await client.post(TASKS + "/cancel", json=picked | {"dry_run": True})).json()
    assert counted == {"matched": 5, "asked": 0, "dry_run": True, "next": None}
    after, asked, pages = "", 0, 0
    while after is not None:
        answer = (await client.post(TASKS + "/cancel", json=picked | {"limit": 2, "after": after})).json()
        after, asked, pages = answer["next"], asked + answer["asked"], pages + 1
    assert (asked, pages) == (5, 3)
    assert {command.task_id for command in world.log.commands} == mine
    assert all(isinstance(command, CancelTask) for command in world.log.commands)


@pytest.mark.parametrize(
    ("body", "pointer"), [({}, ""), ({"status": "asleep"}, "/status"), ({"all": True, "limit": 1001}, "/limit")]
)
async def test_a_cancel_that_may_mean_everything_by_mistake_is_refused(
    client: httpx.AsyncClient, body: dict[str, Any], pointer: str
) -> None:
    answer = await client.post(TASKS + "/cancel", json=body)
    assert problem(answer, 422, "invalid-request")["errors"][0]["pointer"] == pointer


async def test_a_task_may_have_the_id_that_a_route_has(client: httpx.AsyncClient) -> None:
    await submitted(client, id="cancel")
    assert (await client.get(TASKS + "/cancel")).json()["task_id"] == "cancel"
    assert (await client.delete(TASKS + "/cancel")).status_code == 202


async def test_why_says_where_a_task_stands(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    task_id = await submitted(client)
    queue = Queue("default", waiting=4, ahead=2)
    world.read_model.lines[task_id] = Line("default", (queue,), older=2)
    lane = LaneStatus(None, None, "echo", "default", waiting=5, running=2, mean_seconds=26.0)
    world.read_model.workers = [Dispatcher("w1", "cpu", datetime.now(UTC), 2, 2, "priority", (lane,))]
    answer = (await client.get(f"{TASKS}/{task_id}/why")).json()
    assert answer["sentence"] == "It is third in line for class cpu, whose 2 slots are busy; about 39 s."
    assert (answer["position"], answer["ahead"], answer["estimate_seconds"]) == (3, 2, 39.0)
    assert (answer["bound_starts"], answer["strategy"]) == (15, "priority")


async def test_why_needs_a_task(client: httpx.AsyncClient) -> None:
    problem(await client.get(f"{TASKS}/nobody/why"), 404, "task-not-found")


class TestModels:
    """Models and providers, where the class llm is served."""

    @pytest.fixture
    def world(self) -> MemoryWorld:
        """With the class that models run in."""
        return MemoryWorld(classes=("cpu", "llm"))

    @pytest.fixture
    async def client(self, world: MemoryWorld) -> Any:
        """A caller of the application."""
        async with calling(create_app(world.deps)) as client:
            yield client

    async def test_the_request_of_the_seed_makes_a_model_with_an_account(
        self, client: httpx.AsyncClient, world: MemoryWorld
    ) -> None:
        body = {
            "name": "gpt-3.5-turbo",
            "type": "openai",
            "config": {
                "api_key": "env:OPENAI_API_KEY",
                "base_url": "https://api.openai.com/v1",
                "model": "gpt-3.5-turbo",
                "max_tokens": 4096,
                "temperature": 0.7,
            },
            "max_workers": 3,
        }
        answer = await client.post("/api/v1/models", json=body)
        assert answer.status_code == 201
        assert answer.headers["location"] == "/api/v1/models/1"
        model = answer.json()
        assert (model["id"], model["name"], model["type"], model["status"], model["max_workers"]) == (
            *(1, "gpt-3.5-turbo", "openai", "online", 3),
        )
        assert "OPENAI_API_KEY" not in answer.text
        assert (await client.get("/api/v1/models")).json() == {"models": [model]}
        assert (await client.get("/api/v1/models/1")).json() == model
        assert (await client.get("/api/v1/models/gpt-3.5-turbo")).json() == model
        limits = (await client.get("/api/v1/limits")).json()["limits"]
        assert [(each["scope"], each["concurrency"]) for each in limits] == [("model", 3)]
        assert world.registry.configuration.providers["gpt-3.5-turbo"].api_key == "env:OPENAI_API_KEY"

    async def test_a_local_model_is_a_file_or_a_server(self, client: httpx.AsyncClient, world: MemoryWorld) -> None:
        file = {"name": "llama", "type": "local", "config": {"model_path": "llama.gguf"}}
        server = {"name": "far", "type": "local", "config": {"host": "localhost", "port": 8000, "model_path": "/m/x"}}
        for body in (file, server):
            assert (await client.post("/api/v1/models", json=body)).status_code == 201
        configuration = world.registry.configuration
        assert configuration.models["llama"].path == "llama.gguf"
        assert str(configuration.providers["far"].base_url) == "http://localhost:8000/v1"
        assert configuration.models["far"].upstream_name == "/m/x"

    async def test_a_key_in_clear_is_refused_and_written_nowhere(
        self, client: httpx.AsyncClient, world: MemoryWorld, caplog: pytest.LogCaptureFixture
    ) -> None:
        body = {"name": "gpt", "type": "openai", "config": {"api_key": "sk-12345"}}
        answer = await client.post("/api/v1/models", json=body)
        found = problem(answer, 422, "invalid-request")
        assert found["errors"][0]["pointer"] == "/config/api_key"
        assert "env:NAME" in found["detail"]
        assert "sk-12345" not in answer.text + caplog.text
        assert not world.registry.changes

    async def test_a_model_goes_offline_and_comes_back(self, client: httpx.AsyncClient, world: MemoryWorld) -> None:
        await client.post("/api/v1/models", json={"name": "m", "type": "local", "config": {"model_path": "m.gguf"}})
        answer = await client.put("/api/v1/models/1/status", json={"status": "offline"})
        assert (answer.status_code, answer.json()["status"]) == (200, "offline")
        assert not world.registry.configuration.online("m")
        assert (await client.put("/api/v1/models/m/status", json={"status": "online"})).json()["status"] == "online"
        problem(await client.put("/api/v1/models/2/status", json={"status": "online"}), 404, "model-not-found")
        problem(await client.put("/api/v1/models/1/status", json={"status": "asleep"}), 422, "invalid-request")

    async def test_a_name_is_taken_until_its_model_is_removed(self, client: httpx.AsyncClient) -> None:
        body = {"name": "m", "definition": {"path": "m.gguf", "quality": 0.9}, "max_workers": 2}
        assert (await client.post("/api/v1/models", json=body)).json()["definition"]["quality"] == 0.9
        assert problem(await client.post("/api/v1/models", json=body), 409, "model-name-taken")["id"] == 1
        replaced = await client.put("/api/v1/models/1", json=body | {"max_workers": 5})
        assert (replaced.json()["id"], replaced.json()["max_workers"]) == (1, 5)
        assert (await client.delete("/api/v1/models/m")).json() == {"models": []}
        assert (await client.post("/api/v1/models", json=body)).json()["id"] == 1

    async def test_an_account_is_defined_apart_and_kept_while_it_serves(self, client: httpx.AsyncClient) -> None:
        body = {"name": "k2", "definition": {"provider": "kimi"}}
        unknown = await client.post("/api/v1/models", json=body)
        assert problem(unknown, 422, "invalid-request")["errors"][0]["pointer"] == "/provider"
        account = {"preset": "kimi", "limits": {"concurrency": 3}}
        defined = await client.put("/api/v1/providers/kimi", json=account)
        assert (defined.json()["has_key"], defined.json()["base_url"]) == (True, "https://api.moonshot.cn/v1")
        assert "KIMI_API_KEY" not in defined.text
        assert (await client.post("/api/v1/models", json=body)).status_code == 201
        assert problem(await client.delete("/api/v1/providers/kimi"), 409, "provider-in-use")["models"] == ["k2"]
        await client.delete("/api/v1/models/k2")
        assert (await client.delete("/api/v1/providers/kimi")).json() == {"providers": []}

    async def test_a_key_that_the_workers_would_not_send_is_refused_here_already(
        self, client: httpx.AsyncClient, world: MemoryWorld
    ) -> None:
        account = {"base_url": "https://evil.example/v1", "api_key": "env:OPENAI_API_KEY", "headers": {"X": "env:HOME"}}
        found = problem(await client.put("/api/v1/providers/p", json=account), 422, "invalid-request")
        assert [each["pointer"] for each in found["errors"]] == ["/api_key", "/headers/X"]
        for part in ("OPENAI_API_KEY", "https://evil.example", "provider_keys", "PENSTOCK_PROVIDER_KEYS"):
            assert part in found["errors"][0]["detail"]
        config = {"base_url": "https://evil.example/v1", "api_key": "env:OPENAI_API_KEY"}
        refused = await client.post("/api/v1/models", json={"name": "m", "type": "custom", "config": config})
        assert problem(refused, 422, "invalid-request")["errors"][0]["pointer"] == "/config/api_key"
        assert not world.registry.changes

    async def test_an_instance_elsewhere_gets_no_key_by_the_way_of_its_account(self, client: httpx.AsyncClient) -> None:
        assert (await client.put("/api/v1/providers/kimi", json={"preset": "kimi"})).status_code == 200
        away = {"replicas": [{"base_url": "https://evil.example/v1"}]}
        refused = await client.post("/api/v1/models", json={"name": "m", "definition": {"provider": "kimi", **away}})
        assert problem(refused, 422, "invalid-request")["errors"][0]["pointer"] == "/definition/replicas/0"
        keyless = {"base_url": "https://kind.example/v1"}
        assert (await client.put("/api/v1/providers/free", json=keyless)).status_code == 200
        served = {"name": "m", "definition": {"provider": "free", **away}}
        assert (await client.post("/api/v1/models", json=served)).status_code == 201
        changed = await client.put("/api/v1/providers/free", json={"preset": "kimi"})
        assert "https://evil.example" in problem(changed, 422, "invalid-request")["detail"]

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"name": "m"}, ""),
            ({"name": "m", "type": "openai", "definition": {}}, ""),
            ({"name": "m", "type": "custom"}, "/config/base_url"),
            ({"name": "m", "type": "local"}, "/config"),
            ({"name": "auto", "type": "local", "config": {"model_path": "m.gguf"}}, "/config/name"),
            ({"name": "m", "definition": {"path": "m.gguf", "wings": 2}}, "/definition/wings"),
            ({"name": "m", "definition": {"path": "m.gguf", "resource_class": "gpu"}}, "/resource_class"),
        ],
    )
    async def test_what_is_no_model_is_refused(
        self, client: httpx.AsyncClient, body: dict[str, Any], pointer: str
    ) -> None:
        answer = await client.post("/api/v1/models", json=body)
        assert problem(answer, 422, "invalid-request")["errors"][0]["pointer"] == pointer
