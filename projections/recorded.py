"""Reading the recorded topics from given offsets: what projector, rebuild and verification do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition

from domain.errors import PenstockError
from projections.projector import Projector
from streams import history

#: How long the broker may take to name the partitions; topics that do not exist yet are waited for no longer.
OPEN_TIMEOUT_SECONDS = 15
POLL_TIMEOUT_MS = 250
#: A replay whose log falls silent for so long, short of its targets, has lost it.
SILENCE_SECONDS_MAX = 60

Offsets = Mapping[tuple[str, int], int]


class LogTooShort(PenstockError):
    """The log ends before what was projected from it: it is another log, or it has lost records.

    Put the old log back, or rebuild the read models from this one.
    """


@asynccontextmanager
async def recorded(bootstrap_servers: str, names: Iterable[str], offsets: Offsets) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of every partition of some topics, at the given offsets, and at the beginning of the others.

    Raises:
        KafkaError, TimeoutError: Kafka cannot be reached, or a topic does not exist.
        LogTooShort: an offset lies beyond the end of its partition.
    """
    async with history.reader(bootstrap_servers, []) as consumer:
        async with asyncio.timeout(OPEN_TIMEOUT_SECONDS):
            partitions = await history.partitions_of(consumer, names)
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


async def project_up_to(
    projector: Projector, consumer: AIOKafkaConsumer, targets: Offsets, told: Callable[[int], None] = lambda _: None
) -> None:
    """Project until every partition stands at its target, and nothing beyond; `told` hears of each batch's size.

    Raises:
        LogTooShort: a target lies beyond the end of its partition.
        TimeoutError: nothing came for SILENCE_SECONDS_MAX: Kafka went away.
    """
    behind = {TopicPartition(*key): target for key, target in targets.items() if target > projector.offsets.get(key, 0)}
    ends = await consumer.end_offsets(list(behind))
    for key, target in behind.items():
        if ends[key] < target:
            raise LogTooShort(f"{key.topic}/{key.partition} ends at {ends[key]}, but was projected up to {target}")
    heard_at = time.monotonic()
    while behind:
        if time.monotonic() - heard_at > SILENCE_SECONDS_MAX:
            raise TimeoutError(f"nothing came from the log for {SILENCE_SECONDS_MAX} s")
        polled = await consumer.getmany(*behind, timeout_ms=POLL_TIMEOUT_MS, max_records=history.BATCH_RECORDS_MAX)
        batch = {key: [each for each in records if each.offset < behind[key]] for key, records in polled.items()}
        if any(batch.values()):
            await projector.apply({key: records for key, records in batch.items() if records})
            told(sum(map(len, batch.values())))
            heard_at = time.monotonic()
        # The position also passes offsets that hold no record, such as the marks of a foreign transaction.
        behind = {key: target for key, target in behind.items() if await consumer.position(key) < target}


def records_behind(consumer: AIOKafkaConsumer, offsets: Offsets) -> int:
    """Records that the consumer knows of beyond the offsets."""
    behind = 0
    for key in consumer.assignment():
        end = consumer.highwater(key)
        if end is not None:
            behind += max(0, end - offsets.get((key.topic, key.partition), 0))
    return behind
