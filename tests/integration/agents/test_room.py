"""Whole workers with real brokers and engines: what waits for memory, or for its model to be loaded, says so."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agents.engines.llama_server import LlamaServer
from agents.handlers.registry import Registry
from agents.handlers.settings import HandlerSettings, LlmSettings
from agents.handlers.text_generation import TextGenerationPayload, text_generation
from agents.worker import run_worker
from domain import waits
from domain.configuration import Configuration
from domain.explain import explain
from domain.explanation import Circumstances
from domain.line import Line
from domain.states import TaskStatus
from domain.task import TaskState, evolve
from projections.database import open_engine
from projections.dispatchers import dispatchers
from projections.migrate import migrate
from schemas.events import TaskStarted, TaskSubmitted
from schemas.models import ModelDefinition
from streams import topics
from tests.support.scenes import Scene
from tests.support.tiny_gguf import write_tiny_gguf
from tests.support.worker_main import StepPayload, config_of, step

pytestmark = [pytest.mark.external_service, pytest.mark.slow]

needs_llama = pytest.mark.skipif(importlib.util.find_spec("llama_cpp") is None, reason="needs the extra llm")
PAYLOADS = {"text-generation": {"prompt": "hello", "max_tokens": 5}}


@asynccontextmanager
async def working(scene: Scene, *models: ModelDefinition, **changes: Any) -> AsyncIterator[None]:
    """A worker that writes texts with these models, and does steps that need 600 MB each."""
    registry = Registry()
    registry.handler(
        "text-generation", resource_class=scene.resource_class, payload=TextGenerationPayload, routed_by_model=True
    )(text_generation)
    registry.handler("step", resource_class=scene.resource_class, payload=StepPayload, memory_mb=600)(step)
    config = config_of(
        scene.kafka,
        scene.resource_class,
        configuration=Configuration(models={each.name: each for each in models}),
        handlers=HandlerSettings(llm=LlmSettings(models=models, threads=1, ports=())),
        **changes,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(run_worker(config, registry, stop))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(20):
            await running


async def submit(scene: Scene, name: str, task_type: str, model: str | None = None, **payload: Any) -> str:
    task = TaskSubmitted(
        task_id=f"{scene.resource_class}-{name}",
        occurred_at=datetime.now(UTC),
        type=task_type,
        resource_class=scene.resource_class,
        routing_key=model or name,
        model=model,
        payload=json.dumps(PAYLOADS.get(task_type, {}) | payload),
        attempts_max=1,
    )
    scene.submissions[task.task_id] = task
    scene.states[task.task_id] = evolve(TaskState(task_id=task.task_id), task)
    topic = topics.band_of(scene.resource_class, task.priority)
    await scene.log.acknowledged(await scene.log.send(task, topic, task.routing_key))
    return task.task_id


async def until_said(scene: Scene, database: str, task_id: str, sentence: str) -> None:
    """Return once `penstock why` would say so: it goes by the worker's own words, and here by a line of one task."""
    engine = open_engine(database)
    said = ""
    try:
        async with asyncio.timeout(30):
            while said != sentence:
                await asyncio.sleep(0.1)
                async with engine.connect() as connection:
                    told = await dispatchers(connection, [scene.resource_class])
                said = explain(
                    Circumstances(
                        state=scene.states[task_id],
                        now=datetime.now(UTC),
                        configuration=Configuration(),
                        line=Line("default"),
                        dispatchers=told,
                    )
                ).sentence
    except TimeoutError:
        raise AssertionError(f"it says {said!r}") from None
    finally:
        await engine.dispose()


def waited(scene: Scene, task_id: str) -> dict[str, int]:
    (start,) = (fact for fact in scene.facts[task_id] if isinstance(fact, TaskStarted))
    return dict(start.waited_ms)


async def test_what_there_is_no_memory_for_waits_until_an_attempt_has_ended(
    scene: Scene, database: str, tmp_path: Path
) -> None:
    await migrate(database)
    end = tmp_path / "end"
    async with working(scene, memory_mb=1000, database_url=database):
        first = await submit(scene, "first", "step", until=str(end))
        await asyncio.wait_for(_running(scene, first), 30)
        second = await submit(scene, "second", "step")
        await until_said(scene, database, second, "It is first in line for type step, which waits for memory.")
        assert scene.states[second].status is not TaskStatus.RUNNING
        end.touch()
        await scene.until_all(TaskStatus.COMPLETED)
    assert waited(scene, second)[waits.MEMORY] > 0


@needs_llama
async def test_a_model_is_loaded_by_the_first_task_that_would_start_while_its_tasks_wait(
    scene: Scene, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(database)
    load, loads, go = LlamaServer.warm_up, [], asyncio.Event()

    async def slowly(server: LlamaServer) -> None:
        loads.append(server)
        await go.wait()
        await load(server)

    monkeypatch.setattr(LlamaServer, "warm_up", slowly)
    path = str(write_tiny_gguf(tmp_path / "tiny.gguf"))
    model = ModelDefinition(name="tiny", path=path, resource_class=scene.resource_class, context_length=512)
    async with working(scene, model, slots=1, database_url=database):
        texts = [await submit(scene, f"text-{number}", "text-generation", "tiny") for number in range(3)]
        await until_said(scene, database, texts[0], "It is first in line for model tiny, which is being loaded.")
        other = await submit(scene, "other", "step")
        await scene.until_all(TaskStatus.COMPLETED, [other])
        go.set()
        await scene.until_all(TaskStatus.COMPLETED)
    assert len(loads) == 1
    # The others may have come when it was loaded.
    assert waited(scene, texts[0])[waits.MODEL_LOADING] > 0


@needs_llama
async def test_a_model_that_cannot_be_loaded_fails_its_task_with_the_reason(scene: Scene, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no weights")
    model = ModelDefinition(name="broken", path=str(broken), resource_class=scene.resource_class)
    async with working(scene, model, slots=1):
        task = await submit(scene, "text", "text-generation", "broken")
        await scene.until_all(TaskStatus.FAILED)
    assert scene.states[task].error_code == "engine_died"
    assert waited(scene, task)[waits.MODEL_LOADING] > 0


async def _running(scene: Scene, task_id: str) -> None:
    while scene.states[task_id].status is not TaskStatus.RUNNING:
        await asyncio.sleep(0.01)
