"""Plain `def` handlers that hand back their slot at a checkpoint, from their engine process."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from agents.engines.yielding import Yielded
from agents.handlers.registry import Registry
from agents.handlers.running import run_handler
from tests.support.contexts import context, port_of
from tests.support.engine_functions import Count, count_on
from tests.support.memory_worker import until


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.handler("count", resource_class="cpu", payload=Count, preemptible=True)(count_on)
    return registry


async def test_a_process_is_asked_for_its_slot_and_a_later_attempt_goes_on_in_the_same_process(
    registry: Registry,
) -> None:
    async with context() as ctx:
        port = port_of(ctx)
        port.yield_asked = asyncio.Event()
        running = asyncio.create_task(run_handler(registry.get("count"), {}, ctx))
        await until(lambda: port.checkpointed, seconds=20)
        port.yield_asked.set()
        with pytest.raises(Yielded) as yielded:
            await running
        reached = json.loads(yielded.value.checkpoint)
        assert reached["number"] > json.loads(port.checkpointed[0])["number"]
        assert port.usage == {"prompt_tokens": 3}
        (pid,) = ctx.engines.pool.pids
        port.yield_asked = asyncio.Event()
        resumed = await run_handler(
            registry.get("count"), {"until": reached["number"] + 5}, replace(ctx, checkpointed=reached)
        )
    assert json.loads(resumed) == {"number": reached["number"] + 5, "pid": pid}
