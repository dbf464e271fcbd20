"""What is measured, each as plain figures with their units last."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import TypedDict

import aiohttp
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.results import Results
from streams.admin import ensure_topics
from streams.topics import FOREVER_MS, INTAKE, Topic

NOOP = {"type": "custom", "payload": {"function": "noop", "args": {}}}
#: Callers that submit over HTTP at a time.
CALLERS = 32
FINISH_SECONDS_MAX = 300.0
POLL_SECONDS = 0.05


class Throughput(TypedDict):
    """From the first submission to the last result, read back from the log and counted by the read API."""

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


async def throughput_http(bootstrap_servers: str, api_url: str, tasks: int) -> Throughput:
    """Many callers POST; done when every result was read and the read API counts every task as completed."""
    async with (
        aiohttp.ClientSession(
            api_url, raise_for_status=True, connector=aiohttp.TCPConnector(limit=CALLERS + 1)
        ) as http,
        Results(bootstrap_servers) as results,
    ):
        before = await _completed(http)

        async def caller(share: int) -> list[str]:
            task_ids = []
            for _ in range(share):
                async with http.post("/api/v1/tasks", json=NOOP) as response:
                    task_ids.append((await response.json())["task_id"])
            return task_ids

        begun = time.perf_counter()
        shares = [tasks // CALLERS + (number < tasks % CALLERS) for number in range(CALLERS)]
        lists = await asyncio.gather(*(caller(share) for share in shares))
        submit_seconds = time.perf_counter() - begun
        await _finished(http, results, {task_id for ids in lists for task_id in ids}, before)
        return _throughput(tasks, submit_seconds, time.perf_counter() - begun)


async def throughput_log(bootstrap_servers: str, api_url: str, tasks: int) -> Throughput:
    """One foreign producer writes JSON to tasks-intake; done as in `throughput_http`."""
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    task_ids = [f"{prefix}-{number}" for number in range(tasks)]
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all", enable_idempotence=True)
    await producer.start()
    async with aiohttp.ClientSession(api_url, raise_for_status=True) as http, Results(bootstrap_servers) as results:
        try:
            before = await _completed(http)
            begun = time.perf_counter()
            futures = [
                await producer.send(INTAKE, json.dumps(NOOP | {"id": task_id}).encode(), key=task_id.encode())
                for task_id in task_ids
            ]
            await asyncio.gather(*futures)
            submit_seconds = time.perf_counter() - begun
            await _finished(http, results, set(task_ids), before)
            return _throughput(tasks, submit_seconds, time.perf_counter() - begun)
        finally:
            await producer.stop()


async def _finished(http: aiohttp.ClientSession, results: Results, task_ids: set[str], before: int) -> None:
    async with asyncio.timeout(FINISH_SECONDS_MAX):
        await results.read(task_ids)
        while await _completed(http) < before + len(task_ids):  # noqa: ASYNC110 - the count is another process's
            await asyncio.sleep(POLL_SECONDS)


async def _completed(http: aiohttp.ClientSession) -> int:
    """Tasks of the whole system that have ended well, by the read API."""
    async with http.get("/api/v1/tasks", params={"status": "completed", "page_size": 1}) as response:
        return int((await response.json())["total"])


def _throughput(tasks: int, submit_seconds: float, total_seconds: float) -> Throughput:
    return {
        "tasks": tasks,
        "submit_seconds": round(submit_seconds, 3),
        "total_seconds": round(total_seconds, 3),
        "tasks_per_second": round(tasks / total_seconds, 1),
    }


def _percentile_ms(seconds: list[float], share: float) -> float:
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 2)
