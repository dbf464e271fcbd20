"""Whole workers on a real broker, asking pretended endpoints: choices, fallbacks, and what Retry-After asks for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from agents.handlers.registry import Registry
from agents.handlers.settings import HandlerSettings, LlmSettings
from agents.handlers.text_generation import TextGenerationPayload, text_generation
from agents.worker import run_worker
from domain import waits
from domain.configuration import Configuration
from domain.states import TaskStatus
from domain.task import TaskState, evolve
from domain.tokens import call_need
from schemas.events import TaskCompleted, TaskReleased, TaskRouted, TaskStarted, TaskSubmitted
from schemas.models import ModelDefinition, Prices, ProviderDefinition
from streams import topics
from tests.support.llm_endpoint import Endpoint, llm_endpoint
from tests.support.scenes import Scene
from tests.support.worker_main import config_of

pytestmark = [pytest.mark.external_service, pytest.mark.slow]


def model(scene: Scene, name: str, provider: str, **fields: Any) -> ModelDefinition:
    return ModelDefinition(name=name, provider=provider, resource_class=scene.resource_class, **fields)


def provider(name: str, endpoint: Endpoint) -> ProviderDefinition:
    return ProviderDefinition.model_validate({"name": name, "base_url": endpoint.base_url})


@asynccontextmanager
async def asking(
    scene: Scene, models: list[ModelDefinition], providers: list[ProviderDefinition], **changes: Any
) -> AsyncIterator[None]:
    """A worker that writes texts with these models."""
    registry = Registry()
    registry.handler(
        "text-generation",
        resource_class=scene.resource_class,
        payload=TextGenerationPayload,
        routed_by_model=True,
        preemptible=True,
        tokens=lambda payload: call_need([payload.prompt or ""], payload.max_tokens),
    )(text_generation)
    config = config_of(
        scene.kafka,
        scene.resource_class,
        configuration=Configuration(
            models={each.name: each for each in models}, providers={each.name: each for each in providers}
        ),
        handlers=HandlerSettings(llm=LlmSettings(models=tuple(models), providers=tuple(providers))),
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


async def submit(scene: Scene, name: str, asked: str, key: str, **fields: Any) -> str:
    task = TaskSubmitted(
        task_id=f"{scene.resource_class}-{name}",
        occurred_at=datetime.now(UTC),
        type="text-generation",
        resource_class=scene.resource_class,
        routing_key=key,
        model=asked,
        payload=json.dumps({"prompt": "Say hello", "max_tokens": 10}),
        **fields,
    )
    scene.submissions[task.task_id] = task
    scene.states[task.task_id] = evolve(TaskState(task_id=task.task_id), task)
    topic = topics.band_of(scene.resource_class, task.priority)
    await scene.log.acknowledged(await scene.log.send(task, topic, key))
    return task.task_id


def routes(scene: Scene, task_id: str) -> list[TaskRouted]:
    return [fact for fact in scene.facts[task_id] if isinstance(fact, TaskRouted)]


def starts(scene: Scene, task_id: str) -> list[str | None]:
    return [fact.model for fact in scene.facts[task_id] if isinstance(fact, TaskStarted)]


async def test_auto_goes_where_the_wish_is_served_best(scene: Scene) -> None:
    async with llm_endpoint() as cheap, llm_endpoint() as good:
        models = [
            model(scene, "cheap", "p", prices=Prices(input=1, output=1), quality=0.1),
            model(scene, "good", "q", prices=Prices(input=50, output=90), quality=0.9),
        ]
        async with asking(scene, models, [provider("p", cheap), provider("q", good)]):
            thrifty = await submit(scene, "thrifty", "auto", "auto")
            choosy = await submit(scene, "choosy", "auto", "auto", route_by="quality")
            await scene.until_all(TaskStatus.COMPLETED)
    (route,) = routes(scene, thrifty)
    assert (route.model, route.routing_key) == ("cheap", "p")
    assert route.reason.startswith("auto by cost: cheap (costs 0.000017, not measured yet, quality 0.10, errors 0%, ")
    assert [each.model for each in routes(scene, choosy)] == ["good"]
    assert (len(cheap.requests), len(good.requests)) == (1, 1)
    assert starts(scene, thrifty) == ["cheap"]
    completed = scene.facts[thrifty][-1]
    assert isinstance(completed, TaskCompleted)
    assert completed.usage == {"prompt_tokens": 4, "completion_tokens": 3}
    assert json.loads(completed.result)["model"] == "cheap"


async def test_a_refused_key_sends_the_task_down_its_chain(scene: Scene) -> None:
    async with llm_endpoint(status=401) as refusing, llm_endpoint(status=503) as down, llm_endpoint() as well:
        models = [model(scene, name, key) for name, key in (("first", "p"), ("second", "q"), ("third", "r"))]
        providers = [provider("p", refusing), provider("q", down), provider("r", well)]
        async with asking(scene, models, providers):
            chain = ("first", "second", "third")
            task = await submit(scene, "chained", "first", "p", fallbacks=chain, attempts_max=1)
            await scene.until_all(TaskStatus.COMPLETED)
    assert starts(scene, task) == ["first", "second", "third"]
    reasons = [route.reason for route in routes(scene, task)]
    assert reasons[0].startswith("first failed: provider_refused: HTTP 401")
    assert reasons[0].endswith("fallback to second; passed over: first (tried)")
    assert reasons[1].startswith("second failed: provider_unavailable")
    assert scene.types(task) == ["started", "released", "routed"] * 2 + ["started", "completed"]
    assert (scene.states[task].attempt, scene.states[task].attempts_used) == (3, 1)


async def test_a_short_retry_after_is_kept_to_and_the_task_stays(scene: Scene) -> None:
    async with llm_endpoint(status=429, headers={"Retry-After": "1"}) as limited, llm_endpoint() as other:
        models = [model(scene, "first", "p", fallbacks=("second",)), model(scene, "second", "q")]
        async with asking(scene, models, [provider("p", limited), provider("q", other)]):
            task = await submit(scene, "patient", "first", "p", attempts_max=1)
            async with asyncio.timeout(30):
                while not limited.requests:
                    await asyncio.sleep(0.01)
            limited.status = 200
            await scene.until_all(TaskStatus.COMPLETED)
    refused = next(fact.occurred_at for fact in scene.facts[task] if isinstance(fact, TaskReleased))
    again = [fact for fact in scene.facts[task] if isinstance(fact, TaskStarted)][1]
    assert (again.occurred_at - refused).total_seconds() >= 1.0
    assert again.waited_ms[waits.RATE_LIMIT] >= 990
    assert scene.states[task].attempts_used == 1
    assert not routes(scene, task)
    assert not other.requests


async def test_a_long_rate_limit_moves_the_whole_queue(scene: Scene) -> None:
    """Not only the task that met it: those that wait behind it are better off elsewhere, too."""
    async with llm_endpoint() as limited, llm_endpoint() as other:
        limited.answering = asyncio.Event()
        models = [model(scene, "first", "p", fallbacks=("second",)), model(scene, "second", "q")]
        async with asking(scene, models, [provider("p", limited), provider("q", other)], slots=1):
            tasks = [await submit(scene, f"n{number}", "first", "p") for number in range(20)]
            async with asyncio.timeout(30):
                while not limited.requests:
                    await asyncio.sleep(0.01)
            limited.status, limited.headers = 429, {"Retry-After": "600"}
            limited.answering.set()
            await scene.until_all(TaskStatus.COMPLETED)
    assert len(limited.requests) == 1
    assert len(other.requests) == len(tasks)
    waited = [route.reason for task in tasks for route in routes(scene, task) if "is rate limited for" in route.reason]
    assert len(waited) == len(tasks) - 1


async def test_an_open_circuit_sends_on_those_that_would_wait_for_it(scene: Scene) -> None:
    async with llm_endpoint(status=503) as down, llm_endpoint() as other:
        models = [model(scene, "first", "p", fallbacks=("second",)), model(scene, "second", "q")]
        async with asking(scene, models, [provider("p", down), provider("q", other)], slots=1):
            tasks = [await submit(scene, f"n{number}", "first", "p") for number in range(20)]
            await scene.until_all(TaskStatus.COMPLETED)
    assert len(down.requests) <= 6, "five failures open it, and a probe may follow"
    assert len(other.requests) == len(tasks)
    assert any("is circuit open for" in route.reason for task in tasks for route in routes(scene, task))
