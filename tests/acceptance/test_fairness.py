"""Shares and waits of a real worker that has more to do than it can, seen from its provider and from the log."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from domain.strategies.ageing import ageing_bound
from schemas.events import TaskEvent, TaskStarted, TaskSubmitted
from streams.log import EventLog
from tests.support.agent_processes import Agents, agents_of
from tests.support.counting_provider import CountingProvider, counting_provider, tokens
from tests.support.logbook import facts_by_task
from tests.support.memory_worker import until

pytestmark = [pytest.mark.external_service, pytest.mark.slow, pytest.mark.timeout(300)]

MakeAgents = Callable[..., AbstractContextManager[Agents]]

MODEL = "busy"
SLOTS = 2
#: More than ever come at a time: a busy provider notices the end of a call when the next one has come.
CALLS_MAX = 100
DEADLINE_SECONDS = 120.0

#: Words of each tenant's prompts, and how many prompts it has: the same work in all.
WORDS = {"short": 100, "long": 2000}
PROMPTS = {"short": 1000, "long": 50}

AGEING_SECONDS = 2.0
AGEING_EVERY = 5
CALL_SECONDS = 0.1
#: Half as many again as can be served.
ARRIVALS_PER_SECOND = 1.5 * SLOTS / CALL_SECONDS
#: Ten seconds of them: far longer than the low task may have to wait.
ARRIVALS = 300
#: Which of them is the low one.
LOW = 30


@pytest.fixture
def worker(kafka: str, database: str, tmp_path: Path) -> MakeAgents:
    """Makes agents of a provider's model under a strategy."""

    def make(provider: CountingProvider, **strategy: object) -> AbstractContextManager[Agents]:
        llm = {
            "models": [{"name": MODEL, "provider": "counting"}],
            "providers": [{"name": "counting", "base_url": provider.base_url}],
        }
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka,
            "DATABASE_URL": database,
            "PENSTOCK_CLASSES": json.dumps({"llm": {"slots": SLOTS, **strategy}}),
            "PENSTOCK_LLM": json.dumps(llm),
        }
        return agents_of(environment, tmp_path)

    return make


def call(prompt: str, *, tenant: str = "default", priority: int = 2) -> TaskSubmitted:
    """A task that calls the provider once; in any shard."""
    task_id = f"fairness-{uuid.uuid4().hex}"
    return TaskSubmitted(
        task_id=task_id,
        occurred_at=datetime.now(UTC),
        type="text-generation",
        resource_class="llm",
        routing_key=task_id,
        tenant=tenant,
        priority=priority,
        model=MODEL,
        payload=json.dumps({"prompt": prompt, "max_tokens": 1}),
    )


def words(number: int, first: str) -> str:
    """A prompt of so many tokens."""
    return " ".join([first, *["abc"] * (number - 1)])


async def test_prompts_of_twenty_times_the_size_get_no_more_than_their_share(kafka: str, worker: MakeAgents) -> None:
    async with counting_provider({MODEL: CALLS_MAX}, seconds=0.005) as provider:
        with worker(provider, strategy="fair") as agents:
            async with EventLog(kafka) as log:
                for tenant, count in PROMPTS.items():
                    for _ in range(count):
                        await log.submit(call(words(WORDS[tenant], tenant), tenant=tenant))
            agents.start()
            await until(lambda: provider.served.total() >= sum(PROMPTS.values()), seconds=DEADLINE_SECONDS)
    served: Counter[str] = Counter()
    # As long as both have something waiting.
    most = 0.8 * sum(map(tokens, provider.prompts))
    for prompt in provider.prompts:
        served[prompt.partition(" ")[0]] += tokens(prompt)
        if served.total() >= most:
            break
    assert served["short"] == pytest.approx(served["long"], rel=0.05)


async def test_a_low_task_starts_within_the_published_bound_while_too_many_high_ones_arrive(
    kafka: str, worker: MakeAgents
) -> None:
    """Each start after its ageing counts: at most `ageing_every` for each task that has waited longer, and its own."""
    submitted: list[TaskSubmitted] = []

    async def arrive(log: EventLog) -> None:
        begun = time.monotonic()
        for number in range(ARRIVALS):
            await asyncio.sleep(max(0.0, begun + number / ARRIVALS_PER_SECOND - time.monotonic()))
            submitted.append(call("low", priority=1) if number == LOW else call("high", priority=3))
            await log.submit(submitted[-1])

    options = {"ageing_seconds": AGEING_SECONDS, "ageing_every": AGEING_EVERY}
    async with counting_provider({MODEL: CALLS_MAX}, seconds=CALL_SECONDS) as provider:
        with worker(provider, strategy="priority", strategy_options=options) as agents:
            agents.start()
            async with EventLog(kafka) as log:
                await log.submit(call("first"))
                await until(lambda: provider.prompts, seconds=DEADLINE_SECONDS)
                await arrive(log)
            await until(
                lambda: provider.served["low"] and provider.served["high"] >= ARRIVALS - 1, seconds=DEADLINE_SECONDS
            )
    facts = await facts_by_task(kafka, ["llm"])
    starts = {one: started_at(facts[one.task_id]) for one in submitted}
    low = submitted[LOW]
    started = starts.pop(low)
    assert any(one.occurred_at < started < at for one, at in starts.items()), "urgent ones waited when it started"
    older = sum(one.occurred_at < low.occurred_at < at for one, at in starts.items())
    bound = ageing_bound(AGEING_SECONDS, AGEING_EVERY, older)
    aged = low.occurred_at + timedelta(seconds=bound.after_seconds)
    assert sum(aged <= at <= started for at in starts.values()) <= bound.starts


def started_at(facts: list[TaskEvent]) -> datetime:
    """When the first attempt began."""
    return next(fact.occurred_at for fact in facts if isinstance(fact, TaskStarted))
