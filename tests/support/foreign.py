"""An outsider with a Kafka client: knows topics and JSON, nothing of ours."""

import asyncio
import time
from collections.abc import Callable, Iterable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


def produce(bootstrap_servers: str, topic: str, records: Iterable[tuple[bytes | None, bytes]]) -> None:
    """Append records of key and value; returns when all are acknowledged."""

    async def run() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers)
        await producer.start()
        try:
            for key, value in records:
                await producer.send(topic, value, key=key)
            await producer.flush()
        finally:
            await producer.stop()

    asyncio.run(run())


def headers_by_key(
    bootstrap_servers: str, topic: str, key: bytes, wanted: int, seconds: float
) -> list[dict[str, bytes]]:
    """Headers of the records with a key, from the topic's beginning, once there are as many as wanted or time is up."""

    async def run() -> list[dict[str, bytes]]:
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=bootstrap_servers, group_id=None, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            found: list[dict[str, bytes]] = []
            deadline = time.monotonic() + seconds
            while len(found) < wanted and time.monotonic() < deadline:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += [dict(record.headers) for record in records if record.key == key]
            return found
        finally:
            await consumer.stop()

    return asyncio.run(run())


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until the condition is true.

    Raises:
        TimeoutError: it was not in time; says what was waited for.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.05)
