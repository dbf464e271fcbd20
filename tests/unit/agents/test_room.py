"""Tasks that wait for memory, or for their local model to be loaded, in a worker of its own."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

from agents.dispatch_status import status
from agents.engines.local_models import LocalModel, LocalModels
from domain import waits
from domain.errors import TaskError
from domain.task import fold
from schemas import events
from tests.support.memory_worker import MemoryWorker, World, until, worker

ALL = {0, 1, 2, 3}


class PretendedModels(LocalModels):
    """Models of 600 MB each whose loading a test lets go."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.loads: Counter[str] = Counter()
        self.unloads: Counter[str] = Counter()
        self.ready: set[str] = set()
        self.broken: set[str] = set()
        self.go = asyncio.Event()

    def find(self, name: str | None) -> LocalModel | None:
        return LocalModel(name, 600) if name in self.names and name is not None else None

    def loaded(self, model: str) -> bool:
        return model in self.ready

    def opened(self, model: str) -> bool:
        return self.loads[model] > self.unloads[model]

    async def load(self, model: str) -> None:
        self.loads[model] += 1
        await self.go.wait()
        if model in self.broken:
            raise TaskError("engine_died", "no weights", retryable=True)
        self.ready.add(model)

    async def unload(self, model: str) -> None:
        await asyncio.sleep(0)
        self.ready.discard(model)
        self.unloads[model] += 1


def starts(world: World, task_id: str) -> list[events.TaskStarted]:
    return [fact for fact in world.log.facts(task_id) if isinstance(fact, events.TaskStarted)]


def closed(w: MemoryWorker) -> list[tuple[str, str, str]]:
    """What the worker says that its lanes are closed by."""
    said = (lane["closed_by"] for lane in status(w.core)["lanes"])
    return [(each["cause"], each["scope"], each["name"]) for each in said if each]


async def test_no_more_run_at_a_time_than_there_is_memory_for() -> None:
    world = World()
    async with worker(world, slots=4, memory_mb=1000) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("one", "wait", type="heavy")
        await until(lambda: world.script.running == {"one"})
        at = datetime.now(UTC)
        await world.submit("two", "wait", type="heavy", occurred_at=at)
        await world.submit("light")
        await until(lambda: world.log.types("light") == ["started", "completed"])
        assert closed(w) == [("memory", "type", "heavy")]
        world.script.let_go("one")
        await until(lambda: world.script.running == {"two"})
        assert closed(w) == []
        world.script.let_go("two")
        await until(lambda: world.lag == 0)
    (start,) = starts(world, "two")
    waited = (start.occurred_at - at) / timedelta(milliseconds=1)
    assert start.waited_ms[waits.MEMORY] > 0
    assert abs(sum(start.waited_ms.values()) - waited) <= 1


async def test_what_an_empty_worker_has_no_room_for_fails_and_says_why() -> None:
    world = World()
    async with worker(world, memory_mb=500) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", type="heavy", attempts_max=4)
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["started", "failed"]
    assert not world.script.started, "its handler never ran"
    state = fold("t", world.log.facts("t"))
    assert state.error_code == "memory_exceeded"
    assert state.error_detail == "a task of type heavy needs 600 MB of memory, and a worker of its class has 500 MB"


async def test_the_first_task_of_a_model_has_it_loaded_and_all_wait_for_that() -> None:
    world = World()
    models = PretendedModels("m")
    async with worker(world, slots=2, models=models) as w:
        await world.group.rebalance({w.stream: ALL})
        at = datetime.now(UTC)
        names = [f"t-{number}" for number in range(5)]
        for name in names:
            await world.submit(name, type="text", model="m", occurred_at=at)
        await world.submit("other")
        await until(lambda: world.log.types("other") == ["started", "completed"])
        await until(lambda: models.loads["m"])
        assert closed(w) == [("model_loading", "model", "m")]
        assert not any(starts(world, name) for name in names), "no slot is taken while it loads"
        # A load of less than half a millisecond would be told as none.
        loading_since = datetime.now(UTC)
        await until(lambda: datetime.now(UTC) - loading_since > timedelta(milliseconds=20))
        models.go.set()
        await until(lambda: world.lag == 0)
    assert models.loads == {"m": 1}
    for name in names:
        (start,) = starts(world, name)
        assert start.waited_ms[waits.MODEL_LOADING] > 0
        assert abs(sum(start.waited_ms.values()) - (start.occurred_at - at) / timedelta(milliseconds=1)) <= 1


async def test_a_load_that_fails_lets_an_attempt_meet_the_error() -> None:
    world = World()
    models = PretendedModels("m")
    models.broken.add("m")
    models.go.set()
    async with worker(world, models=models) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "fail-once", type="text", model="m")
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["started", "retry_scheduled", "started", "completed"]
    assert models.loads["m"] == 2, "each attempt has it tried anew"


async def test_a_model_that_nobody_uses_makes_room_for_another_one() -> None:
    world = World()
    models = PretendedModels("a", "b")
    models.go.set()
    async with worker(world, slots=2, memory_mb=1000, models=models) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("one", "wait", type="text", model="a")
        await until(lambda: world.script.running == {"one"})
        await world.submit("two", type="text", model="b")
        await until(lambda: closed(w) == [("memory", "model", "b")])
        assert not models.unloads, "it is in use"
        world.script.let_go("one")
        await until(lambda: world.lag == 0)
        assert w.core.gatekeeper.room.memory.used_mb == 600
    assert (models.loads, models.unloads, models.ready) == ({"a": 1, "b": 1}, {"a": 1}, {"b"})
    assert starts(world, "two")[0].waited_ms[waits.MEMORY] > 0


async def test_a_model_that_was_closed_by_another_configuration_takes_no_memory() -> None:
    world = World()
    models = PretendedModels("a")
    models.go.set()
    async with worker(world, memory_mb=1000, models=models) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("one", type="text", model="a")
        await until(lambda: world.lag == 0)
        models.unloads["a"] += 1
        w.configure()
        assert w.core.gatekeeper.room.memory.used_mb == 0
