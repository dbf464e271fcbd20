"""The shard port on a plain aiokafka consumer: the baseline that Faust is held against, and the way out of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError

from streams import clients, header_names
from streams.seeking import seek_to_committed
from streams.session import Session
from streams.shard_stream import POLL_RECORDS_MAX, GroupMembership, Ownership, ShardOwner, ShardRecord


class PlainShardStream:
    """See `ShardStream`. The range assignor keeps co-partitioned topics together by itself."""

    def __init__(self, membership: GroupMembership) -> None:
        self._membership = membership
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=membership.bootstrap_servers,
            group_id=membership.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=int(membership.session_timeout_seconds * 1000),
            heartbeat_interval_ms=int(membership.heartbeat_interval_seconds * 1000),
            max_poll_records=POLL_RECORDS_MAX,
            max_poll_interval_ms=2_000_000_000,
        )
        self._session = Session(membership.session_timeout_seconds)
        self._owner: ShardOwner | None = None
        self._generation = -1
        self._acked: dict[TopicPartition, int] = {}
        self._full: set[TopicPartition] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._rebalanced = asyncio.Event()
        self._log = logging.getLogger(__name__)

    async def start(self, owner: ShardOwner) -> None:
        self._owner = owner
        header_names.tolerate_any()
        await clients.start(self._consumer)
        self._session.watch(self._consumer._coordinator)  # aiokafka tells nobody of its heartbeats
        self._consumer.subscribe(list(self._membership.topics), listener=_Listener(self))
        self._tasks = [asyncio.create_task(self._poll()), asyncio.create_task(self._commit_regularly())]

    async def stop(self) -> None:
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(KafkaError):
            await self._commit()
        await clients.stop(self._consumer)

    async def ended(self) -> None:
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if not task.cancelled():
                task.result()

    def is_current(self, generation: int) -> bool:
        return generation == self._generation

    @property
    def member(self) -> bool:
        return self._rebalanced.is_set()

    @property
    def in_session(self) -> bool:
        return self._session.certain

    def full(self, topic: str, shard: int) -> None:
        partition = TopicPartition(topic, shard)
        self._full.add(partition)
        if partition in self._consumer.assignment():
            self._consumer.pause(partition)

    def drained(self, topic: str, shard: int) -> None:
        partition = TopicPartition(topic, shard)
        self._full.discard(partition)
        if partition in self._consumer.paused():
            self._consumer.resume(partition)

    def ack(self, record: ShardRecord) -> None:
        if self.is_current(record.generation):
            self._acked[TopicPartition(record.topic, record.shard)] = record.offset + 1

    async def on_revoked(self) -> None:
        """Called by the group coordinator before it rejoins."""
        assert self._owner is not None, "partitions come after start"
        self._rebalanced.clear()
        await self._owner.revoked()
        with suppress(KafkaError):
            await self._commit()
        self._acked.clear()

    def on_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Called by the group coordinator; recovery itself waits for the poll loop, outside the join."""
        self._generation = self._consumer._coordinator.generation  # aiokafka has no public name for it
        self._full.clear()
        self._acked.clear()
        self._rebalanced.set()

    async def _poll(self) -> None:
        assert self._owner is not None, "polling begins after start"
        recovered = -1
        while True:
            await self._rebalanced.wait()
            if recovered != self._generation:
                recovered = await self._recover()
                continue
            generation = self._generation
            batches = await self._consumer.getmany(timeout_ms=200)
            if generation != self._generation:
                await seek_to_committed(self._consumer)
                continue
            for partition, messages in batches.items():
                for message in messages:
                    self._owner.received(
                        ShardRecord(
                            topic=partition.topic,
                            shard=partition.partition,
                            offset=message.offset,
                            generation=generation,
                            timestamp_ms=message.timestamp,
                            key=message.key,
                            value=message.value,
                            headers=dict(message.headers),
                        )
                    )

    async def _recover(self) -> int:
        assert self._owner is not None, "polling begins after start"
        generation = self._generation
        assignment = self._consumer.assignment()
        await self._owner.assigned(Ownership(generation, frozenset(tp.partition for tp in assignment)))
        return generation

    async def _commit_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._membership.commit_interval_seconds)
            try:
                await self._commit()
            except KafkaError as error:
                self._log.warning("commit failed, the next one will cover it: %s", error)

    async def _commit(self) -> None:
        if offsets := dict(self._acked):
            await self._consumer.commit(offsets)
            for partition, offset in offsets.items():
                if self._acked.get(partition) == offset:
                    del self._acked[partition]


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka's base class is untyped
    def __init__(self, stream: PlainShardStream) -> None:
        self._stream = stream

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._stream.on_revoked()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._stream.on_assigned(assigned)
