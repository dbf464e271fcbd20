import asyncio

import pytest
from aiokafka import TopicPartition

from streams import history
from streams.faust_stream import FaustShardStream
from tests.support.memory_worker import until
from tests.support.shards import member, new_class, partitions, produce

pytestmark = pytest.mark.external_service


async def test_the_backlog_is_what_the_group_has_not_committed(kafka: str) -> None:
    group = await new_class(kafka, shards=2)
    low = group.topics[-1]
    await produce(kafka, [(low, 0, b"") for _ in range(5)])
    async with member(FaustShardStream, group) as owner:
        await until(lambda: len(owner.records) == 5, seconds=20)
        for record in owner.records[:3]:
            owner.stream.ack(record)
    found = await history.backlog(kafka, group.group, partitions(group))
    assert found.positions[TopicPartition(low, 0)] == 3
    assert found.ends[TopicPartition(low, 0)] == 5
    assert found.oldest_ms == owner.records[3].timestamp_ms
    assert sum(found.positions.values()) == 3


async def test_a_group_that_never_committed_has_everything_before_it(kafka: str) -> None:
    group = await new_class(kafka, shards=2)
    empty = await history.backlog(kafka, group.group, partitions(group))
    assert (empty.oldest_ms, set(empty.positions.values())) == (None, {0})
    await produce(kafka, [(group.topics[0], 1, b"")])
    found = await history.backlog(kafka, group.group, partitions(group))
    assert found.oldest_ms is not None
    assert {tp for tp, end in found.ends.items() if end} == {TopicPartition(group.topics[0], 1)}


async def test_there_is_no_backlog_without_partitions(kafka: str) -> None:
    assert await history.backlog(kafka, "nobody", []) == history.Backlog({}, {}, None)


async def test_reading_ends_at_the_end_as_it_was_and_begins_at_a_moment(kafka: str) -> None:
    group = await new_class(kafka, shards=2)
    low = group.topics[-1]
    await produce(kafka, [(low, shard, b"old") for shard in (0, 1)])
    await asyncio.sleep(0.01)  # the broker's clock counts milliseconds
    await produce(kafka, [(low, 1, b"new") for _ in range(3)])
    async with history.reader(kafka, [low]) as reader:
        everything = [record async for records in history.read_to_end(reader) for record in records]
        assert [record.value for record in everything].count(b"new") == 3
        since = next(record.timestamp for record in everything if record.value == b"new")
        await history.seek_to_moment(reader, since)
        seen = []
        async for records in history.read_to_end(reader):
            seen += [record.value for record in records]
            await produce(kafka, [(low, 0, b"later")])
    assert seen == [b"new"] * 3


async def test_reading_stops_when_it_is_no_longer_wanted(kafka: str) -> None:
    group = await new_class(kafka, shards=1)
    await produce(kafka, [(group.topics[0], 0, b"")])
    async with history.reader(kafka, [group.topics[0]]) as reader:
        assert [records async for records in history.read_to_end(reader, lambda: False)] == []
