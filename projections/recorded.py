"""Reading the recorded topics from given offsets: what projector, rebuild and verification do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition

from domain.errors import PenstockError
from streams import history, topics

#: How long the broker may take to name the partitions; topics that do not exist yet are waited for no longer.
OPEN_TIMEOUT_SECONDS = 15

Offsets = Mapping[tuple[str, int], int]


class LogTooShort(PenstockError):
    """The log ends before what was projected from it: it is another log, or it has lost records.

    Put the old log back, or rebuild the read models from this one.
    """


@asynccontextmanager
async def recorded(bootstrap_servers: str, classes: Iterable[str], offsets: Offsets) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of every recorded partition, at the given offsets, and at the beginning of the others.

    Raises:
        KafkaError, TimeoutError: Kafka cannot be reached, or a topic does not exist.
        LogTooShort: an offset lies beyond the end of its partition.
    """
    async with history.reader(bootstrap_servers, []) as consumer:
        async with asyncio.timeout(OPEN_TIMEOUT_SECONDS):
            partitions = await history.partitions_of(consumer, topics.recorded_topics(classes))
            consumer.assign(partitions)
            await _seek(consumer, partitions, offsets)
        yield consumer


async def _seek(consumer: AIOKafkaConsumer, partitions: list[TopicPartition], offsets: Offsets) -> None:
    begins = await consumer.beginning_offsets(partitions)
    ends = await consumer.end_offsets(partitions)
    for key in partitions:
        offset = offsets.get((key.topic, key.partition), begins[key])
        if offset > ends[key]:
            raise LogTooShort(
                f"{key.topic}/{key.partition} ends at {ends[key]}, but the read models hold it up to {offset}; "
                "is this the log they were built from? `penstock replay --rebuild` builds them anew"
            )
        consumer.seek(key, offset)


def records_behind(consumer: AIOKafkaConsumer, offsets: Offsets) -> int:
    """Records that the consumer knows of beyond the offsets."""
    behind = 0
    for key in consumer.assignment():
        end = consumer.highwater(key)
        if end is not None:
            behind += max(0, end - offsets.get((key.topic, key.partition), 0))
    return behind
