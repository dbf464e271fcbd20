"""A whole worker whose only slot several local texts share: each is cut many times, and none shows it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agents.context import AttemptPort, TaskContext
from agents.handlers import generating
from agents.handlers.registry import Registry
from agents.handlers.settings import HandlerSettings, LlmSettings
from agents.handlers.text_generation import TextGenerationPayload, text_generation
from agents.worker import run_worker
from domain.configuration import Configuration
from domain.states import TaskStatus
from domain.strategies.choice import StrategyChoice
from domain.task import TaskState, evolve
from schemas.events import TaskCompleted, TaskSubmitted
from schemas.models import ModelDefinition
from streams import topics
from tests.support.scenes import Scene
from tests.support.tiny_gguf import write_tiny_gguf
from tests.support.worker_main import config_of

pytestmark = [
    pytest.mark.external_service,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("llama_cpp") is None, reason="needs the extra llm"),
]

PROMPTS = ("hello", "x y", "what now")


class UnhurriedPort:
    """Takes its time at each checkpoint, so that a text lasts longer than a slice on any machine."""

    def __init__(self, port: AttemptPort) -> None:
        self._port = port

    async def checkpoint(self, state: object) -> None:
        await asyncio.sleep(0.01)
        await self._port.checkpoint(state)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)


async def unhurried(payload: TextGenerationPayload, ctx: TaskContext) -> Mapping[str, object]:
    """The real handler."""
    port: Any = UnhurriedPort(ctx.port)
    return await text_generation(payload, replace(ctx, port=port))


@asynccontextmanager
async def writing(scene: Scene, model: ModelDefinition, choice: StrategyChoice) -> AsyncIterator[None]:
    """A worker with one slot and one local model."""
    registry = Registry()
    registry.handler(
        "text-generation",
        resource_class=scene.resource_class,
        payload=TextGenerationPayload,
        routed_by_model=True,
        preemptible=True,
    )(unhurried)
    config = config_of(
        scene.kafka,
        scene.resource_class,
        slots=1,
        configuration=Configuration(models={model.name: model}, strategies={scene.resource_class: choice}),
        handlers=HandlerSettings(llm=LlmSettings(models=(model,), threads=1, ports=())),
    )
    stop = asyncio.Event()
    running = asyncio.create_task(run_worker(config, registry, stop))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(20):
            await running


async def submit(scene: Scene, name: str, prompt: str) -> str:
    task = TaskSubmitted(
        task_id=f"{scene.resource_class}-{name}",
        occurred_at=datetime.now(UTC),
        type="text-generation",
        resource_class=scene.resource_class,
        routing_key="tiny",
        model="tiny",
        payload=json.dumps({"prompt": prompt, "max_tokens": 100, "temperature": 0}),
    )
    scene.submissions[task.task_id] = task
    scene.states[task.task_id] = evolve(TaskState(task_id=task.task_id), task)
    topic = topics.band_of(scene.resource_class, task.priority)
    await scene.log.acknowledged(await scene.log.send(task, topic, "tiny"))
    return task.task_id


def result(scene: Scene, task_id: str) -> object:
    completed = scene.facts[task_id][-1]
    assert isinstance(completed, TaskCompleted)
    return json.loads(completed.result)


async def test_texts_that_share_a_slot_are_what_they_are_alone(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A fast machine writes the whole text before a part of it is usually worth a checkpoint.
    monkeypatch.setattr(generating, "PACE", generating.Pace(least_seconds=0.0))
    path = str(write_tiny_gguf(tmp_path / "tiny.gguf"))
    model = ModelDefinition(name="tiny", path=path, resource_class=scene.resource_class, context_length=512)
    async with writing(scene, model, StrategyChoice("fifo")):
        alone = [await submit(scene, f"alone-{number}", prompt) for number, prompt in enumerate(PROMPTS)]
        await scene.until_all(TaskStatus.COMPLETED, alone, seconds=120)
    assert not any("yielded" in scene.types(task) for task in alone)
    async with writing(scene, model, StrategyChoice("round_robin", {"time_slice_seconds": 0.25})):
        shared = [await submit(scene, f"shared-{number}", prompt) for number, prompt in enumerate(PROMPTS)]
        await scene.until_all(TaskStatus.COMPLETED, shared, seconds=120)
    assert sum(scene.types(task).count("yielded") for task in shared) >= 2
    assert [result(scene, task) for task in shared] == [result(scene, task) for task in alone]
    assert all(scene.states[task].attempts_lost == 0 for task in shared)
