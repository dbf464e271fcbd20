"""Reading the log from a moment to its present end, outside any group: what recoveries and audits do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from streams import clients, header_names

#: Records of one poll: large, since nobody waits for single ones.
BATCH_RECORDS_MAX = 5000


@asynccontextmanager
async def reader(bootstrap_servers: str, topics: Iterable[str]) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without a group, assigned every partition of the topics."""
    header_names.tolerate_any()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_poll_records=BATCH_RECORDS_MAX,
    )
    async with clients.running(consumer):
        consumer.assign(await partitions_of(consumer, topics))
        yield consumer


async def partitions_of(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> list[TopicPartition]:
    """Every partition of the topics, by the broker's word."""
    partitions: list[TopicPartition] = []
    for topic in topics:
        await consumer._client._wait_on_metadata(topic)  # the only way to learn of a topic without subscribing to it
        partitions += [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
    return partitions


async def seek_to_moment(consumer: AIOKafkaConsumer, since_ms: int) -> None:
    """Position every assigned partition at its first record appended at or after a moment (milliseconds, UTC)."""
    partitions = list(consumer.assignment())
    # The ends first: a record that is appended between the two answers must not be skipped.
    ends = await consumer.end_offsets(partitions)
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
    for partition in partitions:
        position = found.get(partition)
        consumer.seek(partition, ends[partition] if position is None else position.offset)


async def any_between(consumer: AIOKafkaConsumer, partition: TopicPartition, first: int, last: int) -> bool:
    """Whether there are records from the one offset to the other; one behind them must have been seen."""
    consumer.assign([partition])
    begins = (await consumer.beginning_offsets([partition]))[partition]
    if begins > last:
        # Retention may have taken the one behind them too, and nobody may wait for another.
        return False
    consumer.seek(partition, max(first, begins))
    record: ConsumerRecord = await consumer.getone(partition)
    return int(record.offset) <= last


async def read_to_end(
    consumer: AIOKafkaConsumer, wanted: Callable[[], bool] = lambda: True
) -> AsyncIterator[Sequence[ConsumerRecord]]:
    """Batches of records from the present positions to the ends as they are now; stops early when no longer wanted."""
    ends = await consumer.end_offsets(list(consumer.assignment()))
    behind = {partition for partition, end in ends.items() if await consumer.position(partition) < end}
    while behind and wanted():
        batches = await consumer.getmany(*behind, timeout_ms=500)
        for partition, records in batches.items():
            if records:
                yield [record for record in records if record.offset < ends[partition]]
        for partition in list(behind):
            if await consumer.position(partition) >= ends[partition]:
                behind.discard(partition)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a group has not committed of some partitions."""

    #: Offset of the first uncommitted record, or of the next one to be appended; for every partition.
    positions: Mapping[TopicPartition, int]
    #: Offset behind the last record, for every partition.
    ends: Mapping[TopicPartition, int]
    #: When the oldest uncommitted record was appended (milliseconds, UTC); None when there is none.
    oldest_ms: int | None


async def backlog(bootstrap_servers: str, group: str, partitions: Sequence[TopicPartition]) -> Backlog:
    """What the group has not committed of the partitions, as things are now.

    Raises:
        KafkaError: the broker does not answer.
    """
    if not partitions:
        return Backlog({}, {}, None)
    committed = await _committed(bootstrap_servers, group)
    async with reader(bootstrap_servers, []) as consumer:
        consumer.assign(partitions)
        begins = await consumer.beginning_offsets(list(partitions))
        ends = await consumer.end_offsets(list(partitions))
        positions = {
            partition: min(max(committed.get(partition, 0), begins[partition]), ends[partition])
            for partition in partitions
        }
        behind = {partition for partition, position in positions.items() if position < ends[partition]}
        for partition in behind:
            consumer.seek(partition, positions[partition])
        oldest: int | None = None
        while behind:
            batches = await consumer.getmany(*behind, timeout_ms=500, max_records=len(behind))
            for partition, records in batches.items():
                if records:
                    behind.discard(partition)
                    oldest = records[0].timestamp if oldest is None else min(oldest, records[0].timestamp)
        return Backlog(positions, ends, oldest)


async def _committed(bootstrap_servers: str, group: str) -> dict[TopicPartition, int]:
    async with clients.running(AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)) as admin:
        offsets = await admin.list_consumer_group_offsets(group)
    return {partition: found.offset for partition, found in offsets.items() if found.offset >= 0}
