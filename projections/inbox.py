"""Records that were read and wait to be projected, joined into one batch.

Reading must not wait for projecting: aiokafka asks the broker for more of a partition only when what it has read of it
was taken, and until then asks for the others alone, for up to half a second. A fact that follows another closely would
come that late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

POLL_TIMEOUT_MS = 250


class Inbox:
    """Reads ahead of the projector, by a bounded number of records."""

    def __init__(self, consumer: AIOKafkaConsumer, records_max: int) -> None:
        self._consumer = consumer
        self._records_max = records_max
        self._batch: dict[TopicPartition, list[ConsumerRecord]] = {}
        self._count = 0
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def read(self) -> None:
        """Read until cancelled.

        Raises:
            KafkaError: the log cannot be read.
        """
        while True:
            await self._room.wait()
            wanted = self._records_max - self._count
            self._put(await self._consumer.getmany(timeout_ms=POLL_TIMEOUT_MS, max_records=wanted))

    async def take(self, timeout_seconds: float) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        """Everything that was read since the last time, each partition's records in order; empty after the timeout."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._filled.wait()
        except TimeoutError:
            return {}
        batch, self._batch, self._count = self._batch, {}, 0
        self._filled.clear()
        self._room.set()
        return batch

    def _put(self, polled: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> None:
        for partition, records in polled.items():
            self._batch.setdefault(partition, []).extend(records)
            self._count += len(records)
        if self._batch:
            self._filled.set()
        if self._count >= self._records_max:
            self._room.clear()
