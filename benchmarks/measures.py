"""What is measured, each as plain figures with their units last."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import TypedDict

import aiohttp
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from streams.admin import ensure_topics
from streams.topics import FOREVER_MS, INTAKE, Topic

NOOP = {"type": "custom", "payload": {"function": "noop", "args": {}}}
#: Callers that submit over HTTP at a time.
CALLERS = 32
FINISH_SECONDS_MAX = 300.0


class Throughput(TypedDict):
    """From the first submission to the last readable result."""

    tasks: int
    submit_seconds: float
    total_seconds: float
    tasks_per_second: float


class Latency(TypedDict):
    """One task at a time, from the request to its readable result."""

    samples: int
    p50_ms: float
    p95_ms: float
    max_ms: float


class RawKafka(TypedDict):
    """One topic, records of a submission's size, acks=all."""

    records: int
    produce_per_second: float
    consume_per_second: float
    awaited_send_p50_ms: float


async def raw_kafka(bootstrap_servers: str, records: int) -> RawKafka:
    """What the broker and aiokafka alone can do, on this machine and now."""
    topic = f"bench-raw-{uuid.uuid4().hex[:8]}"
    await ensure_topics(bootstrap_servers, [Topic(topic, "any", 4, FOREVER_MS, "a benchmark", (), ())])
    value = json.dumps(NOOP).encode().ljust(300)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        begun = time.perf_counter()
        futures = [await producer.send(topic, value, key=str(number).encode()) for number in range(records)]
        await asyncio.gather(*futures)
        produce_seconds = time.perf_counter() - begun
        waits = []
        for _ in range(200):
            one = time.perf_counter()
            await producer.send_and_wait(topic, value)
            waits.append(time.perf_counter() - one)
    finally:
        await producer.stop()
    consume_seconds = await _consume(bootstrap_servers, topic, records)
    return {
        "records": records,
        "produce_per_second": round(records / produce_seconds, 1),
        "consume_per_second": round(records / consume_seconds, 1),
        "awaited_send_p50_ms": _percentile_ms(waits, 0.5),
    }


async def _consume(bootstrap_servers: str, topic: str, records: int) -> float:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap_servers, group_id=None, auto_offset_reset="earliest", max_poll_records=1000
    )
    await consumer.start()
    try:
        begun = time.perf_counter()
        seen = 0
        while seen < records:
            seen += sum(len(batch) for batch in (await consumer.getmany(timeout_ms=1000)).values())
        return time.perf_counter() - begun
    finally:
        await consumer.stop()


async def idle_latency(api_url: str, samples: int) -> Latency:
    """POST, then GET that waits for the end: what one caller of an idle system sees."""
    waits = []
    async with aiohttp.ClientSession(api_url, raise_for_status=True) as http:
        for number in range(samples + 10):
            begun = time.perf_counter()
            async with http.post("/api/v1/tasks", json=NOOP) as response:
                accepted = await response.json()
            async with http.get(f"/api/v1/tasks/{accepted['task_id']}", params={"wait": 20}) as response:
                task = await response.json()
            if task["status"] != "completed":
                raise RuntimeError(f"task {accepted['task_id']} is {task['status']}")
            if number >= 10:
                waits.append(time.perf_counter() - begun)
    return {
        "samples": samples,
        "p50_ms": _percentile_ms(waits, 0.5),
        "p95_ms": _percentile_ms(waits, 0.95),
        "max_ms": _percentile_ms(waits, 1.0),
    }


async def throughput_http(api_url: str, tasks: int) -> Throughput:
    """Many callers POST; done when the read API counts every one as completed."""
    tenant = f"bench-{uuid.uuid4().hex[:8]}"
    async with aiohttp.ClientSession(
        api_url, raise_for_status=True, connector=aiohttp.TCPConnector(limit=CALLERS)
    ) as http:

        async def caller(share: int) -> None:
            for _ in range(share):
                async with http.post("/api/v1/tasks", json=NOOP | {"tenant": tenant}) as response:
                    await response.read()

        begun = time.perf_counter()
        shares = [tasks // CALLERS + (number < tasks % CALLERS) for number in range(CALLERS)]
        await asyncio.gather(*(caller(share) for share in shares))
        submit_seconds = time.perf_counter() - begun
        return await _finished(http, tenant, tasks, begun, submit_seconds)


async def throughput_log(bootstrap_servers: str, api_url: str, tasks: int) -> Throughput:
    """One foreign producer writes JSON to tasks-intake; done when the read API counts every one as completed."""
    tenant = f"bench-{uuid.uuid4().hex[:8]}"
    value = json.dumps(NOOP | {"tenant": tenant}).encode()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all", enable_idempotence=True)
    await producer.start()
    async with aiohttp.ClientSession(api_url, raise_for_status=True) as http:
        try:
            begun = time.perf_counter()
            futures = [await producer.send(INTAKE, value, key=str(number).encode()) for number in range(tasks)]
            await asyncio.gather(*futures)
            submit_seconds = time.perf_counter() - begun
            return await _finished(http, tenant, tasks, begun, submit_seconds)
        finally:
            await producer.stop()


async def _finished(
    http: aiohttp.ClientSession, tenant: str, tasks: int, begun: float, submit_seconds: float
) -> Throughput:
    async with asyncio.timeout(FINISH_SECONDS_MAX):
        while True:
            query: dict[str, str | int] = {"tenant": tenant, "status": "completed", "page_size": 1}
            async with http.get("/api/v1/tasks", params=query) as response:
                if (await response.json())["total"] >= tasks:
                    break
            await asyncio.sleep(0.05)
    total = time.perf_counter() - begun
    return {
        "tasks": tasks,
        "submit_seconds": round(submit_seconds, 3),
        "total_seconds": round(total, 3),
        "tasks_per_second": round(tasks / total, 1),
    }


def _percentile_ms(seconds: list[float], share: float) -> float:
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 2)
