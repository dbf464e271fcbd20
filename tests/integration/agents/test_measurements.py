"""What one worker has measured reaches the others, through the row in which it tells of its queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psycopg
import pytest
from psycopg.types.json import Jsonb

from agents.measurements import Measurements
from domain.errors import TaskError
from projections.database import libpq_url
from projections.migrate import migrate
from schemas.models import ModelDefinition

pytestmark = pytest.mark.external_service

MODELS = {name: ModelDefinition(name=name, provider=name.upper()) for name in ("a", "b")}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


async def test_workers_hear_of_one_anothers_figures_queues_and_blocks(database: str) -> None:
    await migrate(database)
    first, second = Measurements(), Measurements()
    for _ in range(4):
        first.ended(MODELS["a"], 2.0, None)
    first.ended(MODELS["a"], 0.1, TaskError("provider_unavailable", "503"))
    lane = {"model": "a", "provider": "A", "task_type": "t", "tenant": "x", "waiting": 7, "running": 2}
    async with await psycopg.AsyncConnection.connect(libpq_url(database), autocommit=True) as connection:
        await connection.execute(
            "INSERT INTO coordination.dispatch_status VALUES ('first', 'llm', clock_timestamp(), %s)",
            [Jsonb({"lanes": [lane], "models": first.told()})],
        )
        await connection.execute(
            "INSERT INTO coordination.blocked_providers VALUES ('B', extract(epoch FROM clock_timestamp()) + 60)"
        )
    following = asyncio.create_task(second.follow(database, "llm", "second"))
    try:
        await until(lambda: (second.of(MODELS)["a"].samples, second.of(MODELS)["b"].blocked_by) == (5, "rate limited"))
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    found = second.of(MODELS)
    assert (found["a"].seconds, found["a"].waiting, found["a"].running) == (2.0, 7, 2)
    assert found["a"].error_rate == pytest.approx(1 / 6)
    assert found["a"].blocked_until is None


async def test_without_a_database_a_worker_goes_by_its_own_figures() -> None:
    alone = Measurements()
    alone.ended(MODELS["a"], 3.0, None)
    following = asyncio.create_task(alone.follow("postgresql://127.0.0.1:1/none", "llm", "alone"))
    await asyncio.sleep(0)
    assert alone.of(MODELS)["a"].seconds == 3.0
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
