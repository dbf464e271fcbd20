"""The commands that steer a system, against the API on a world in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import httpx
import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from api.app import create_app
from domain.configuration import Configuration
from domain.dispatch_status import Dispatcher, LaneStatus
from domain.limits.limit import Limit
from domain.strategies.choice import StrategyChoice
from penstock.cli import app
from penstock.client import Client
from penstock.commands import models, scheduler, task_control
from penstock.commands.scheduler import read_options
from penstock.errors import RequestFailed, SettingsError
from schemas.commands import CancelTask, ChangePriority
from tests.support.memory_world import MemoryWorld

#: The command line's client gives a time limit, which means nothing to an application in memory.
pytestmark = pytest.mark.filterwarnings("ignore:You should not use the 'timeout' argument")

Command = Callable[..., Result]


@pytest.fixture
def world() -> MemoryWorld:
    return MemoryWorld()


@pytest.fixture
def http(world: MemoryWorld) -> Iterator[TestClient]:
    # What the API logs of requests would mix with what the commands print.
    with capture_logs(), TestClient(create_app(world.deps)) as client:
        yield client


@pytest.fixture
def command(http: TestClient, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command line; an error that the user would be told escapes."""

    @contextmanager
    def connected(_: str) -> Iterator[Client]:
        yield Client(cast("httpx.Client", http))

    for module in (models, scheduler, task_control):
        monkeypatch.setattr(module, "connected", connected)
        monkeypatch.setattr(module, "running_system", lambda *_: SimpleNamespace(api_url=""))

    def run(*words: str) -> Result:
        result = CliRunner().invoke(app, words)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def holds(world: MemoryWorld) -> Configuration:
    return world.registry.configuration


def submitted(http: TestClient, **more: object) -> str:
    answer = http.post("/api/v1/tasks", json={"type": "echo", "payload": {"text": "x"}, **more})
    found: str = answer.json()["task_id"]
    return found


def test_a_strategy_is_changed_for_one_class_with_options(command: Command, world: MemoryWorld) -> None:
    said = command("strategy", "cpu", "round_robin", "--option", "time_slice_seconds=2.5").stdout
    assert holds(world).strategy_of("cpu") == StrategyChoice("round_robin", {"time_slice_seconds": 2.5})
    assert "time_slice_seconds=2.5" in said
    assert holds(world).strategy_of("io") == StrategyChoice("priority")


def test_all_classes_get_a_strategy_at_once(command: Command, world: MemoryWorld) -> None:
    command("strategy", "all", "fifo")
    assert {holds(world).strategy_of(name).name for name in ("cpu", "io")} == {"fifo"}
    assert [each["strategy"] for each in json.loads(command("strategy", "--json").stdout)] == ["fifo", "fifo"]


def test_a_class_that_does_not_exist_is_named(command: Command) -> None:
    with pytest.raises(SettingsError, match="no class gpu"):
        command("strategy", "gpu", "fifo")


def test_a_strategy_that_does_not_exist_is_refused_with_what_there_is(command: Command) -> None:
    with pytest.raises(RequestFailed, match="no strategy 'fastest': choose one of fifo, priority"):
        command("strategy", "cpu", "fastest")


def test_options_are_json_or_texts() -> None:
    assert read_options(["a=1", "b=2.5", "c=tokens", "d=x=y"]) == {"a": 1, "b": 2.5, "c": "tokens", "d": "x=y"}
    with pytest.raises(SettingsError, match="NAME=VALUE"):
        read_options(["a"])


def test_what_is_paused_goes_on_when_it_is_resumed(command: Command, world: MemoryWorld) -> None:
    command("pause", "tenant", "newsroom", "--reason", "unpaid")
    (pause,) = holds(world).pauses.values()
    assert (pause.scope, pause.name, pause.reason, pause.drain) == ("tenant", "newsroom", "unpaid", False)
    command("resume", "tenant", "newsroom")
    assert not holds(world).pauses


def worker(running: int) -> Dispatcher:
    lane = LaneStatus("qwen", None, "echo", "newsroom", waiting=3, running=running)
    return Dispatcher("w", "cpu", datetime.now(UTC), 2, running, "priority", (lane,))


@pytest.mark.parametrize(("scope", "name"), [("class", "cpu"), ("model", "qwen"), ("tenant", "newsroom")])
def test_draining_waits_until_nothing_of_it_runs(command: Command, world: MemoryWorld, scope: str, name: str) -> None:
    world.read_model.workers = [worker(running=0)]
    assert f"{scope} {name} is drained" in command("drain", scope, name).stdout
    assert holds(world).pauses[scope, name].drain
    world.read_model.workers = [worker(running=2)]
    late = command("drain", scope, name, "--timeout", "0")
    assert (late.exit_code, late.stdout) == (1, f"2 tasks of {scope} {name} still run\n")


def test_a_limit_is_set_listed_and_lifted(command: Command, world: MemoryWorld) -> None:
    command("limits", "set", "tenant", "news/room", "--concurrency", "2", "--tokens-per-minute", "9000")
    assert holds(world).limits == {("tenant", "news/room"): Limit(concurrency=2, tokens_per_minute=9000)}
    (listed,) = json.loads(command("limits", "--json").stdout)
    assert (listed["scope"], listed["name"], listed["concurrency"]) == ("tenant", "news/room", 2)
    assert "news/room" in command("limits").stdout
    command("limits", "lift", "tenant", "news/room")
    assert not holds(world).limits


def test_a_weight_is_shown_and_changed(command: Command) -> None:
    assert command("weight", "newsroom").stdout == "newsroom: 1\n"
    assert command("weight", "newsroom", "2.5").stdout == "newsroom: 2.5\n"


def test_a_model_comes_goes_offline_and_is_removed(command: Command, world: MemoryWorld) -> None:
    # Models run in the class llm, which this world does not serve.
    with pytest.raises(RequestFailed, match="no class 'llm'"):
        command("models", "add", "qwen", "--type", "local", "--model-path", "qwen.gguf")


def test_a_priority_is_asked_for_by_its_word(command: Command, world: MemoryWorld, http: TestClient) -> None:
    task_id = submitted(http)
    command("priority", task_id, "high")
    (asked,) = world.log.commands
    assert isinstance(asked, ChangePriority)
    assert (asked.task_id, asked.priority) == (task_id, 3)


def test_many_tasks_are_cancelled_by_what_they_are(command: Command, world: MemoryWorld, http: TestClient) -> None:
    mine = {submitted(http, tenant="mine") for _ in range(3)}
    submitted(http, tenant="other")
    assert command("cancel", "--tenant", "mine", "--dry-run").stdout == "3 tasks would be cancelled\n"
    assert not world.log.commands
    assert command("cancel", "--tenant", "mine").stdout == "asked for the cancellation of 3 tasks\n"
    assert {each.task_id for each in world.log.commands} == mine
    assert all(isinstance(each, CancelTask) for each in world.log.commands)


@pytest.mark.parametrize("words", [(), ("some-id", "--all")])
def test_what_to_cancel_must_be_said_and_said_once(command: Command, words: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError, match="Cancel what"):
        command("cancel", *words)


def test_why_is_one_sentence(command: Command, http: TestClient) -> None:
    task_id = submitted(http)
    assert command("why", task_id).stdout == "It is on its way to a worker.\n"
    assert json.loads(command("why", task_id, "--json").stdout)["cause"] == "delivery"
