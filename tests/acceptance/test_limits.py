"""Limits over three agent processes, counted in the provider, while one joins and one is killed."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from domain.states import TaskStatus
from domain.task import fold
from schemas.events import TaskSubmitted
from streams.log import EventLog
from tests.support.agent_processes import Agents, agents_of
from tests.support.counting_provider import CountingProvider, counting_provider
from tests.support.logbook import facts_by_task

pytestmark = [pytest.mark.external_service, pytest.mark.slow, pytest.mark.timeout(400)]

#: Calls at a time, by model; each has a provider of its own, so that their work meets in different shards.
#: Of the first one no second call can be under way when the first is refused.
MODELS = {"m1": 1, "m2": 2, "m3": 2, "m4": 2}
#: Less than all of them together.
CLASS_LIMIT = 4
TASKS = 60
#: Long enough for as many to run at a time as may, also where starting one takes a while.
CALL_SECONDS = 0.5
RETRY_AFTER_SECONDS = 1.5
DEADLINE_SECONDS = 120.0


@pytest.fixture
async def provider() -> AsyncIterator[CountingProvider]:
    """What all models are served by."""
    async with counting_provider(MODELS, seconds=CALL_SECONDS) as counting:
        yield counting


@pytest.fixture
def agents(kafka: str, database: str, tmp_path: Path, provider: CountingProvider) -> Iterator[Agents]:
    """Topics and tables are there; nobody works yet."""
    llm = {
        "models": [{"name": name, "provider": f"of-{name}"} for name in MODELS],
        "providers": [
            {"name": f"of-{name}", "base_url": provider.base_url, "limits": {"concurrency": concurrency}}
            for name, concurrency in MODELS.items()
        ],
    }
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "DATABASE_URL": database,
        "PENSTOCK_CLASSES": json.dumps({"llm": {"slots": 6}}),
        "PENSTOCK_LLM": json.dumps(llm),
        "PENSTOCK_LIMITS": json.dumps({"class": {"llm": {"concurrency": CLASS_LIMIT}}}),
        "PENSTOCK_LIMIT_LEASE_SECONDS": "4",
        "PENSTOCK_RETRY_DELAY_SECONDS": "0.2",
    }
    with agents_of(environment, tmp_path) as started:
        yield started


async def submit(kafka: str) -> dict[str, str]:
    """Tasks for all models in turn; each one's prompt by its id."""
    prompts: dict[str, str] = {}
    async with EventLog(kafka) as log:
        for number in range(TASKS):
            model = list(MODELS)[number % len(MODELS)]
            task_id = f"limits-{os.getpid()}-{time.time_ns()}-{number}"
            prompts[task_id] = f"prompt {task_id}"
            submission = TaskSubmitted(
                task_id=task_id,
                occurred_at=datetime.now(UTC),
                type="text-generation",
                resource_class="llm",
                routing_key=f"of-{model}",
                model=model,
                payload=json.dumps({"prompt": prompts[task_id], "max_tokens": 8}),
                attempts_max=10,
            )
            await log.submit(submission)
    return prompts


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.02)


async def test_no_limit_is_exceeded_while_agents_join_and_are_killed(
    kafka: str, provider: CountingProvider, agents: Agents
) -> None:
    agents.start()
    killed = agents.start()
    prompts = await submit(kafka)
    await until(lambda: agents.owners() == 2 and provider.served.total() >= TASKS // 10, "both are at work")
    # No sooner: whoever loses a shard while its call is under way never reads the answer.
    provider.refuse_next["m1"] = RETRY_AFTER_SECONDS
    await until(lambda: "m1" in provider.called_after, "the model that refused is called again")
    agents.start()
    await until(lambda: provider.served.total() >= TASKS // 2, "half of the work is done")
    killed.kill()
    await until(lambda: all(provider.served[prompt] for prompt in prompts.values()), "all work is done")

    assert provider.most_together == CLASS_LIMIT, "reached, and never exceeded"
    assert all(provider.most[name] <= concurrency for name, concurrency in MODELS.items())
    assert max(provider.most.values()) == max(MODELS.values()), "reached somewhere, and never exceeded"
    assert provider.breaches == []
    waited_seconds = provider.called_after["m1"] - provider.refused_at["m1"]
    assert waited_seconds >= RETRY_AFTER_SECONDS, "nobody called before the moment that was asked for"
    await until_completed(kafka, set(prompts))


async def until_completed(kafka: str, task_ids: set[str]) -> None:
    """By the log, each has completed."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        facts = await facts_by_task(kafka, ["llm"])
        statuses = {task_id: fold(task_id, facts[task_id]).status for task_id in task_ids}
        if set(statuses.values()) == {TaskStatus.COMPLETED}:
            return
        assert time.monotonic() < deadline, statuses
        await asyncio.sleep(0.2)
