"""Many records for few partitions: one batch and one acknowledgement a partition, not a record."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder

from schemas.envelope import Headers
from streams import topics


class PartitionBatches:
    """Records of one topic on their way to a producer, in the order of the calls within each partition."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer, self._topic = producer, topic
        self._open: dict[int, BatchBuilder] = {}
        self._sent: list[asyncio.Future[Any]] = []

    async def append(self, partition: int, value: bytes, key: bytes, headers: Headers) -> None:
        """Waits only where a batch is full and the one before it has not left yet.

        Raises:
            MessageSizeTooLargeError: the broker would refuse the record.
            KafkaError: a full batch could not be sent.
        """
        if len(key) + len(value) > topics.RECORD_BYTES_MAX:
            raise MessageSizeTooLargeError
        batch = self._open.get(partition)
        if batch is None or not batch.append(timestamp=None, key=key, value=value, headers=headers):
            if batch is not None:
                await self._send(partition, batch)
            batch = self._open[partition] = self._producer.create_batch()
            batch.append(timestamp=None, key=key, value=value, headers=headers)

    async def sent(self) -> list[asyncio.Future[Any]]:
        """Begin to append all of them; done when the log has them.

        Raises:
            KafkaError: a batch could not be sent.
        """
        for partition, batch in self._open.items():
            await self._send(partition, batch)
        self._open.clear()
        return self._sent

    async def _send(self, partition: int, batch: BatchBuilder) -> None:
        self._sent.append(await self._producer.send_batch(batch, self._topic, partition=partition))
