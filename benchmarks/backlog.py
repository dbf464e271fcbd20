"""What a long queue costs: the same tasks with and without many others that wait behind them, and the memory."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import TypedDict

import aiohttp
from aiokafka import AIOKafkaProducer

from benchmarks.measures import FINISH_SECONDS_MAX, NOOP, POLL_SECONDS
from benchmarks.processes import resident_mib
from penstock.installation import RunningSystem
from streams.topics import INTAKE

#: Sleeps until it is cancelled.
BLOCKER = {"type": "custom", "payload": {"function": "sleep", "args": {"seconds": 3600}}, "timeout": 7200}
ROLE = "agents-cpu"
FILL_SECONDS_MAX = 600.0


class Backlog(TypedDict):
    """Tasks of high priority, started while tasks of low priority wait."""

    waiting: int
    tasks: int
    tasks_per_second: float
    #: Memory of the worker when half of them waited, and when all did.
    half_filled_mib: float
    filled_mib: float


async def backlog(system: RunningSystem, slots: int, waiting: int, tasks: int) -> Backlog:
    """How fast tasks of high priority go while others wait; leaves the others running down.

    Sleepers hold every slot while the queue fills, and are cancelled to open it. What else runs meanwhile, since
    some starts go to those that have waited longest, counts too.
    """
    async with aiohttp.ClientSession(system.api_url, raise_for_status=True) as http:
        sleepers = await _occupy(http, slots)
        await _fill(system, http, waiting // 2, "low")
        half_filled_mib = resident_mib(system, ROLE)
        await _fill(system, http, waiting - waiting // 2, "low")
        filled_mib = resident_mib(system, ROLE)
        await _fill(system, http, tasks, "high")
        before = await _count(http, "completed")
        begun = time.perf_counter()
        for task_id in sleepers:
            async with http.delete(f"/api/v1/tasks/{task_id}") as response:
                await response.read()
        async with asyncio.timeout(FINISH_SECONDS_MAX):
            while (done := await _count(http, "completed") - before) < tasks:  # noqa: ASYNC110 - the same
                await asyncio.sleep(POLL_SECONDS)
        seconds = time.perf_counter() - begun
    return {
        "waiting": waiting,
        "tasks": done,
        "tasks_per_second": round(done / seconds, 1),
        "half_filled_mib": half_filled_mib,
        "filled_mib": filled_mib,
    }


async def _occupy(http: aiohttp.ClientSession, slots: int) -> list[str]:
    task_ids = []
    for _ in range(slots):
        async with http.post("/api/v1/tasks", json=BLOCKER) as response:
            task_ids.append((await response.json())["task_id"])
    async with asyncio.timeout(FILL_SECONDS_MAX):
        while await _count(http, "running") < slots:  # noqa: ASYNC110 - the count is another process's
            await asyncio.sleep(POLL_SECONDS)
    return task_ids


async def _fill(system: RunningSystem, http: aiohttp.ClientSession, tasks: int, priority: str) -> None:
    """Submit tasks that then wait; returns when the read API sees all of them."""
    before = await _count(http, "pending")
    producer = AIOKafkaProducer(bootstrap_servers=system.bootstrap_servers, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        value = json.dumps(NOOP | {"priority": priority}).encode()
        futures = [await producer.send(INTAKE, value, key=uuid.uuid4().bytes) for _ in range(tasks)]
        await asyncio.gather(*futures)
    finally:
        await producer.stop()
    async with asyncio.timeout(FILL_SECONDS_MAX):
        while await _count(http, "pending") < before + tasks:  # noqa: ASYNC110 - the same
            await asyncio.sleep(10 * POLL_SECONDS)


async def _count(http: aiohttp.ClientSession, status: str) -> int:
    async with http.get("/api/v1/tasks", params={"status": status, "page_size": 1}) as response:
        return int((await response.json())["total"])
