"""Members of a class's group on a real broker, and what they saw: for tests of the shard port."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from streams.admin import ensure_topics
from streams.faust_stream import FaustShardStream
from streams.plain_stream import PlainShardStream
from streams.shard_stream import GroupMembership, Ownership, ShardRecord, ShardStream
from streams.topics import class_topics, of_class

MakeStream = Callable[[GroupMembership], ShardStream]
STREAMS: dict[str, MakeStream] = {"faust": FaustShardStream, "plain": PlainShardStream}


async def new_class(bootstrap_servers: str, shards: int = 4) -> GroupMembership:
    """Topics and a group that no other test uses. Sessions are as short as a broker allows."""
    name = f"t{uuid.uuid4().hex[:10]}"
    await ensure_topics(bootstrap_servers, of_class(name, shards))
    return GroupMembership(
        bootstrap_servers=bootstrap_servers,
        group=f"agents-{name}",
        topics=tuple(class_topics(name)),
        shards=shards,
        session_timeout_seconds=6.0,
        heartbeat_interval_seconds=0.3,
        commit_interval_seconds=0.2,
    )


async def produce(bootstrap_servers: str, records: Iterable[tuple[str, int, bytes | None]]) -> None:
    """Append values to topics and partitions, in order."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers, linger_ms=5) as producer:
        futures = [
            await producer.send(topic, value, key=b"k", partition=partition, headers=[("h", b"v")])
            for topic, partition, value in records
        ]
        await asyncio.gather(*futures)


async def committed(membership: GroupMembership) -> dict[tuple[str, int], int]:
    """Offsets that the broker has for the group."""
    admin = AIOKafkaAdminClient(bootstrap_servers=membership.bootstrap_servers)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(membership.group)
    finally:
        await admin.close()
    return {(tp.topic, tp.partition): found.offset for tp, found in offsets.items() if found.offset >= 0}


@dataclass(eq=False)
class RecordingOwner:
    """Notes what the stream tells it, and acknowledges in order if told to."""

    stream: ShardStream
    #: `revoked`, `assigning`, `assigned`, `record`, in order.
    calls: list[str] = field(default_factory=list)
    ownerships: list[Ownership] = field(default_factory=list)
    records: list[ShardRecord] = field(default_factory=list)
    by_band: dict[tuple[str, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    acknowledges: bool = False
    #: Awaited in the middle of the calls.
    on_assigned: Callable[[Ownership], Awaitable[None]] | None = None
    on_revoked: Callable[[], Awaitable[None]] | None = None
    on_record: Callable[[ShardRecord], None] | None = None

    async def revoked(self) -> None:
        """See `ShardOwner.revoked`."""
        if self.on_revoked is not None:
            await self.on_revoked()
        self.calls.append("revoked")

    async def assigned(self, ownership: Ownership) -> None:
        """See `ShardOwner.assigned`."""
        self.calls.append("assigning")
        if self.on_assigned is not None:
            await self.on_assigned(ownership)
        if self.stream.is_current(ownership.generation):
            self.calls.append("assigned")
            self.ownerships.append(ownership)

    def received(self, record: ShardRecord) -> None:
        """See `ShardOwner.received`."""
        if not self.calls or self.calls[-1] != "record":
            self.calls.append("record")
        self.records.append(record)
        self.by_band[(record.topic, record.shard)].append(record.offset)
        if self.on_record is not None:
            self.on_record(record)
        if self.acknowledges:
            self.stream.ack(record)

    @property
    def shards(self) -> frozenset[int]:
        """What it owns now."""
        return self.ownerships[-1].shards if self.ownerships else frozenset()


@asynccontextmanager
async def member(make: MakeStream, membership: GroupMembership, **notes: object) -> AsyncIterator[RecordingOwner]:
    """A member of the group, for as long as the block."""
    stream = make(membership)
    owner = replace(RecordingOwner(stream), **notes)  # type: ignore[arg-type]  # names are checked by replace
    await stream.start(owner)
    try:
        yield owner
    finally:
        await stream.stop()


def bands(membership: GroupMembership) -> list[tuple[str, int]]:
    """Every topic and shard of the class."""
    return [(topic, shard) for topic in membership.topics for shard in range(membership.shards)]


def partitions(membership: GroupMembership) -> list[TopicPartition]:
    """The same as aiokafka names them."""
    return [TopicPartition(*band) for band in bands(membership)]
