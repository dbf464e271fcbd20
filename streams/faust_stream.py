"""Faust behind the shard port: one app, one agent a band, and the settings that keep its traps shut.

Faust acknowledges a record whose body raises, commits past one unfinished record, loses records of paused partitions,
hands records out before a recovery has ended, and dies of a commit that a rebalance overtakes. Hence: its
acknowledgements are off, and what is committed is what we say, in offset order; back-pressure by buffer marks, never by
pausing; recovery in `on_rebalance_complete`, which is awaited before the first record; and no tables, no exactly-once,
no static membership.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from tempfile import TemporaryDirectory
from typing import Any, cast

import faust
from faust.types import TP, EventT

from streams import header_names
from streams.assignor import assignor_of
from streams.faust_consumer import AsTheyAre, Batch, InBatches, consumer_of
from streams.session import Session
from streams.shard_stream import POLL_RECORDS_MAX, GroupMembership, Ownership, ShardOwner, ShardRecord

#: Faust's poll limit is client-side only, and leaving the group is no cure for full bands: the watchdog judges instead.
POLL_INTERVAL_SECONDS_MAX = 2_000_000.0


class FaustShardStream:
    """See `ShardStream`."""

    def __init__(self, membership: GroupMembership) -> None:
        self._membership = membership
        #: Faust makes a folder for tables, which we have none of; it must not appear wherever the worker was started.
        self._folder = TemporaryDirectory(prefix="penstock-faust-")
        self._app = _make_app(membership, self._folder.name)
        self._session = Session(membership.session_timeout_seconds)
        self._owner: ShardOwner | None = None
        self._recovering = False
        self._log = logging.getLogger(__name__)

    async def start(self, owner: ShardOwner) -> None:
        self._owner = owner
        header_names.tolerate_any()
        for name in self._membership.topics:
            topic = self._app.topic(name, schema=AsTheyAre(), acks=False)
            self._app.agent(topic, name=f"take-{name}")(self._take)
        self._app.on_partitions_revoked.connect(self._on_revoked, weak=False)
        self._app.on_rebalance_complete.connect(self._on_rebalance_complete, weak=False)
        self._app.finalize()
        # For this app's transport alone.
        self._app.transport.Consumer = consumer_of(self._session)  # type: ignore[misc]  # a variable of the instance
        await self._app.start()

    async def stop(self) -> None:
        await self._app.stop()
        self._folder.cleanup()

    async def ended(self) -> None:
        await self._app.wait_until_stopped()
        if self._app.crash_reason is not None:
            raise self._app.crash_reason

    def is_current(self, generation: int) -> bool:
        return bool(self._app.consumer_generation_id == generation)

    @property
    def member(self) -> bool:
        return self._recovering or bool(self._app.flow_control.is_active())

    @property
    def in_session(self) -> bool:
        return self._session.certain

    def full(self, topic: str, shard: int) -> None:
        self._app.consumer.on_buffer_full(TP(topic, shard))

    def drained(self, topic: str, shard: int) -> None:
        partition = TP(topic, shard)
        if partition in self._app.consumer.assignment():
            self._app.consumer.on_buffer_drop(partition)
        else:
            # `on_buffer_drop` would have Faust fetch a partition that it has lost, which ends the worker.
            self._app.consumer._buffered_partitions.discard(partition)  # type: ignore[attr-defined]  # not in its interface

    def ack(self, record: ShardRecord) -> None:
        if self.is_current(record.generation):
            self._app.consumer.reached[TP(record.topic, record.shard)] = record.offset + 1  # type: ignore[attr-defined]  # ours

    async def _take(self, stream: Any) -> None:
        assert self._owner is not None, "agents run after start"
        events: AsyncIterator[EventT[Any]] = stream.noack().events()
        async for event in events:
            try:
                for record in _records(event):
                    self._owner.received(record)
            except Exception as error:
                # Faust would start another body behind this batch, and the rest of it would be passed over.
                await self._app.crash(error)
                await self._app.wait_until_stopped()

    async def _on_revoked(self, *_: Any, **__: Any) -> None:
        assert self._owner is not None, "partitions come after start"
        await self._owner.revoked()

    async def _on_rebalance_complete(self, *_: Any, **__: Any) -> None:
        assert self._owner is not None, "partitions come after start"
        generation = self._app.consumer_generation_id
        shards = frozenset(tp.partition for tp in self._app.consumer.assignment())
        self._log.info("assigned shards %s in generation %d", sorted(shards), generation)
        self._recovering = True
        try:
            await self._owner.assigned(Ownership(generation, shards))
        finally:
            self._recovering = False


def _make_app(membership: GroupMembership, folder: str) -> faust.App:
    return faust.App(
        membership.group,
        broker=[f"kafka://{server}" for server in membership.bootstrap_servers.split(",")],
        PartitionAssignor=assignor_of(membership.shards),
        datadir=folder,
        autodiscover=False,
        web_enabled=False,
        store="memory://",
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
        ConsumerScheduler=InBatches,
        stream_buffer_maxsize=max(4096, 5 * membership.shards * POLL_RECORDS_MAX),
        broker_max_poll_records=POLL_RECORDS_MAX,
        broker_max_poll_interval=POLL_INTERVAL_SECONDS_MAX,
        broker_session_timeout=membership.session_timeout_seconds,
        broker_heartbeat_interval=membership.heartbeat_interval_seconds,
        broker_commit_interval=membership.commit_interval_seconds,
    )


def _records(event: EventT[Any]) -> Iterator[ShardRecord]:
    generation, batch = event.message.generation_id, cast("Batch", event.value)
    assert generation is not None, "our consumer sets it"
    for record in batch:
        yield ShardRecord(
            topic=record.topic,
            shard=record.partition,
            offset=record.offset,
            generation=generation,
            timestamp_ms=record.timestamp,
            key=record.key,
            value=record.value,
            headers=dict(record.headers),
        )
