"""An outsider with a Kafka client: knows topics and JSON, nothing of ours."""

import asyncio
import time
from collections.abc import Callable, Iterable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy


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


class _RawName(str):
    """A header name that is written as the bytes that it was made of."""

    raw: bytes

    def encode(self, *_: object) -> bytes:
        """Whatever it is, it goes to the log."""
        return self.raw


def batch_of(records: Iterable[tuple[bytes | None, bytes]], *, base_offset: int = 0, compression: int = 0) -> bytes:
    """A record batch of values, each with one header of the given name, which need not be text."""
    builder = _DefaultRecordBatchBuilderPy(2, compression, 0, -1, -1, -1, 1_000_000)
    for number, (value, raw) in enumerate(records):
        name = _RawName()
        name.raw = raw
        builder.append(number, 1_700_000_000_000 + number, b"key", value, [(name, b"1")])
    return base_offset.to_bytes(8, "big") + bytes(builder.build())[8:]


async def append_batch(bootstrap_servers: str, topic: str, partition: int, batch: bytes) -> int:
    """Append a batch as it is; the offset of its first record."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap_servers)
    await client.bootstrap()
    try:
        await client._wait_on_metadata(topic)
        leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
        request = ProduceRequest(
            transactional_id=None, required_acks=-1, timeout=10_000, topics=[(topic, [(partition, batch)])]
        )
        answer = await client.send(leader, request)
        ((_, ((_, error, offset, *_),)),) = answer.topics
        assert error == 0, f"the broker refuses the batch with error {error}"
        return int(offset)
    finally:
        await client.close()


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
