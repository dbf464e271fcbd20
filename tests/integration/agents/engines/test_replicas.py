"""One model with several instances: shares, an instance that dies under calls, and its return."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agents.engines.local_text import LocalText
from agents.engines.replicas import Replicas
from agents.engines.text import Delta, Generation, TextRequest
from agents.engines.text_models import TextModels
from agents.handlers.settings import LlmSettings
from domain.errors import TaskError
from schemas.models import HealthCheck, ModelDefinition, Replica
from tests.support.llm_endpoint import Endpoint, llm_endpoint
from tests.support.tiny_gguf import write_tiny_gguf

HEALTH = HealthCheck(failures_max=1, interval_seconds=0.05, interval_seconds_max=0.1)
ASKED = TextRequest(prompt="Once", max_tokens=5, temperature=0.0)
DEADLINE_SECONDS = 60


async def ignore(_: Delta) -> None: ...


async def ask(models: TextModels) -> Generation:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await models.get("m").text.generate(ASKED, ignore)


@asynccontextmanager
async def replicated(*weights: int, **fields: Any) -> AsyncIterator[tuple[TextModels, list[Endpoint]]]:
    """A model with an endpoint for each weight."""
    async with AsyncExitStack() as stack:
        endpoints = [await stack.enter_async_context(llm_endpoint()) for _ in weights]
        replicas = [
            Replica.model_validate({"base_url": endpoint.base_url, "weight": weight})
            for endpoint, weight in zip(endpoints, weights, strict=True)
        ]
        definition = ModelDefinition(name="m", served_as="gpt", replicas=tuple(replicas), health_check=HEALTH, **fields)
        models = TextModels(LlmSettings(models=(definition,)))
        stack.push_async_callback(models.close)
        yield models, endpoints


async def until(condition: Any) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def test_calls_are_shared_by_weight() -> None:
    async with replicated(3, 1, balancing="weighted_round_robin") as (models, endpoints):
        for _ in range(8):
            assert (await ask(models)).model == "m"
    assert [len(endpoint.requests) for endpoint in endpoints] == [6, 2]
    assert {request["model"] for endpoint in endpoints for request in endpoint.requests} == {"gpt"}


async def test_the_least_busy_instance_gets_the_next_call() -> None:
    async with replicated(1, 1, 1, balancing="least_connections") as (models, endpoints):
        endpoints[0].answering = asyncio.Event()
        stuck = asyncio.create_task(ask(models))
        await until(lambda: endpoints[0].busy)
        for _ in range(6):
            await ask(models)
        assert [len(endpoint.requests) for endpoint in endpoints] == [1, 3, 3]
        endpoints[0].answering.set()
        await stuck


async def test_an_instance_that_fails_costs_no_call_and_returns_when_it_is_well() -> None:
    async with replicated(1, 1) as (models, endpoints):
        endpoints[0].status = 503
        for _ in range(4):
            assert (await ask(models)).text == "Hello, world"
        assert len(endpoints[0].requests) == 1, "it was left out at once"
        await until(lambda: len(endpoints[0].probes) >= 2)
        assert set(endpoints[0].probes) == {"/v1/models"}
        endpoints[0].status = 200
        replicas = models.get("m").text.text  # type: ignore[attr-defined]  # a model of the configuration wraps it
        assert isinstance(replicas, Replicas)
        await until(lambda: len(replicas.balancer.well()) == 2)
        before = len(endpoints[0].requests)
        for _ in range(4):
            await ask(models)
        assert len(endpoints[0].requests) == before + 2


async def test_when_all_are_down_the_last_reason_is_told_and_then_that_nobody_is_well() -> None:
    async with replicated(1, 1) as (models, endpoints):
        for endpoint in endpoints:
            endpoint.status = 503
        with pytest.raises(TaskError) as caught:
            await ask(models)
        assert (caught.value.code, caught.value.retryable) == ("provider_unavailable", True)
        with pytest.raises(TaskError) as caught:
            await ask(models)
        assert caught.value.code in ("model_unavailable", "provider_unavailable")


async def test_a_rate_limit_of_one_instance_is_served_by_another_and_that_of_all_is_told() -> None:
    async with replicated(1, 1) as (models, endpoints):
        endpoints[0].status, endpoints[0].headers = 429, {"Retry-After": "7"}
        assert (await ask(models)).text == "Hello, world"
        endpoints[1].status, endpoints[1].headers = 429, {"Retry-After": "7"}
        with pytest.raises(TaskError) as caught:
            await ask(models)
        assert (caught.value.code, caught.value.retry_after_seconds) == ("rate_limited", 7)


async def test_half_a_text_is_not_begun_again_elsewhere() -> None:
    async with replicated(1, 1) as (models, endpoints):
        endpoints[0].cut = True
        with pytest.raises(TaskError) as caught:
            await ask(models)
        assert caught.value.code == "provider_unavailable"
        assert not endpoints[1].requests


async def test_a_wrong_request_is_nobodys_fault() -> None:
    async with replicated(1, 1) as (models, endpoints):
        endpoints[0].status = 400
        with pytest.raises(TaskError) as caught:
            await ask(models)
        assert caught.value.code == "request_refused"
        endpoints[0].status = 200
        for _ in range(4):
            await ask(models)
        assert len(endpoints[0].requests) == 3


@pytest.mark.skipif(importlib.util.find_spec("llama_cpp") is None, reason="needs the extra llm")
async def test_local_instances_have_a_server_each_and_one_may_die(tmp_path: Path) -> None:
    path = str(write_tiny_gguf(tmp_path / "tiny.gguf"))
    definition = ModelDefinition(
        name="m", replicas=(Replica(path=path), Replica(path=path)), health_check=HEALTH, context_length=512
    )
    models = TextModels(LlmSettings(models=(definition,), threads=1, ports=()))
    try:
        first, second = await ask(models), await ask(models)
        assert first.text == second.text
        assert first.model == "m"
        pids = _pids(models)
        assert len({*pids.values()} - {None}) == 2
        victim = pids["m#0"]
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        for _ in range(4):
            assert (await ask(models)).text == first.text
        await until(lambda: _pids(models)["m#0"] not in (None, victim))
    finally:
        await models.close()


def _pids(models: TextModels) -> dict[str, int | None]:
    replicas = models.get("m").text.text  # type: ignore[attr-defined]  # a model of the configuration wraps it
    assert isinstance(replicas, Replicas)
    found = {}
    for name, instance in replicas._instances.items():
        assert isinstance(instance.text, LocalText)
        opened = instance.text._opened
        found[name] = opened[1].pid if opened else None
    return found
