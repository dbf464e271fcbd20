"""Traps of assignment: who owns which shards, and from when on, with Faust as it comes and with ours.

The first part of each test documents Faust 0.15.3. If one of these begins to fail after an upgrade, Faust has mended
the trap, and what we do against it may go.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.cluster import ClusterMetadata
from faust.assignor.client_assignment import CopartitionedAssignment
from faust.assignor.copartitioned_assignor import CopartitionedAssignor
from faust.assignor.partition_assignor import PartitionAssignor
from faust.types import TP

from streams.assignor import ShardAssignor, assignor_of
from streams.faust_stream import FaustShardStream
from streams.shard_stream import Ownership
from tests.support.memory_worker import until
from tests.support.plain_faust import collect, one_band, plain_app, running, until_committed
from tests.support.shards import member, new_class, produce

pytestmark = pytest.mark.external_service


async def test_a_third_worker_and_torn_shards() -> None:
    """Faust's standby replicas leave the third of three workers without a shard; ours shares 2, 1, 1."""

    def shares(replicas: int) -> list[int]:
        workers: dict[str, CopartitionedAssignment] = {}
        for name in ("first", "second", "third"):
            workers[name] = CopartitionedAssignment(topics={"a", "b", "c"})
            CopartitionedAssignor(["a", "b", "c"], workers, 4, replicas=replicas).get_assignment()
        return sorted(len(one.actives) for one in workers.values())

    app = faust.App("never-started", broker="kafka://127.0.0.1:1", store="memory://")
    assert shares(PartitionAssignor(app, app.conf.table_standby_replicas).replicas) == [0, 2, 2]
    assert shares(ShardAssignor(app, app.conf.table_standby_replicas).replicas) == [1, 1, 2]


async def test_a_leader_that_does_not_know_the_topics() -> None:
    """As after a restart of the broker: Faust's gives nobody anything, and nothing makes the group think again."""
    app = faust.App("never-started-either", broker="kafka://127.0.0.1:1", store="memory://")

    def shares(assignor: Any) -> list[int]:
        members = {name: assignor.metadata({"a", "b", "c"}) for name in ("first", "second")}
        assigned = assignor.assign(ClusterMetadata(), members)
        return [len(partitions) for one in assigned.values() for _, partitions in one.assignment]

    assert shares(PartitionAssignor(app)) == []
    assert shares(assignor_of(4)(app)) == [2] * 6


@pytest.mark.slow
async def test_no_standby_replicas(kafka: str) -> None:
    """Without them Faust falls back to a round robin that tears the three topics of a shard apart.

    Ours is held together by the conformance test of three members.
    """
    group = await new_class(kafka)
    apps = [plain_app(group, table_standby_replicas=0) for _ in range(3)]
    bodies = {topic: collect([]) for topic in group.topics}

    def balanced() -> bool:
        return all(len(app.consumer.assignment()) == 4 for app in apps)

    async with running(apps[0], bodies), running(apps[1], bodies), running(apps[2], bodies):
        await until(balanced, seconds=40)
        owners = {tp: number for number, app in enumerate(apps) for tp in app.consumer.assignment()}
    torn = [shard for shard in range(4) if len({owners[TP(topic, shard)] for topic in group.topics}) > 1]
    assert torn


async def test_a_recovery_in_partitions_assigned(kafka: str) -> None:
    """Faust hands records out while its handlers still run; `assigned` of ours is awaited first."""
    group, low = await one_band(kafka, 1)
    seen = asyncio.Event()
    order: list[str] = []

    async def take(stream: Any) -> None:
        async for _ in stream:
            order.append("record")
            seen.set()

    async def recover(*_: Any, **__: Any) -> None:
        await asyncio.wait_for(seen.wait(), 5)
        order.append("recovered")

    app = plain_app(group)
    app.on_partitions_assigned.connect(recover, weak=False)
    async with running(app, {low: take}):
        await until(lambda: "recovered" in order, seconds=30)
    assert order == ["record", "recovered"]

    group, low = await one_band(kafka, 1)

    async def wait_in_vain(_: Ownership) -> None:
        await asyncio.sleep(1.0)
        assert not owner.records

    async with member(FaustShardStream, group) as owner:
        owner.on_assigned = wait_in_vain
        await until(lambda: owner.records, seconds=30)
    assert owner.calls[-2:] == ["assigned", "record"]


async def test_a_seek_where_nothing_is_committed(kafka: str) -> None:
    """Faust seeks when a fetch brought records before they may be handed out; with no commit, they never come again."""
    group, low = await one_band(kafka, 3)
    events: list[Any] = []
    app = plain_app(group)
    async with running(app, {low: collect(events)}):
        await until(lambda: len(events) == 3, seconds=30)
        consumer: Any = app.consumer
        await consumer.perform_seek()
        await produce(kafka, [(low, 0, b"")])
        await until(lambda: len(events) > 3, seconds=30)
    assert [event.message.offset for event in events] == [0, 1, 2, 3]

    group, low = await one_band(kafka, 3)
    async with member(FaustShardStream, group) as owner:
        await until(lambda: len(owner.records) == 3, seconds=30)
        stream: Any = owner.stream
        await stream._app.consumer.perform_seek()
        await until(lambda: len(owner.records) == 6, seconds=30)
        owner.stream.ack(owner.records[1])
        await until_committed(group, low, 2)
        await stream._app.consumer.perform_seek()
        await until(lambda: len(owner.records) == 7, seconds=30)
    assert owner.by_band[(low, 0)] == [0, 1, 2, 0, 1, 2, 2]


async def test_static_membership(kafka: str) -> None:
    """A static member that comes back has the same generation: nothing tells its two lives apart."""
    group, low = await one_band(kafka, 1)

    async def generation(**settings: Any) -> int:
        consumer = AIOKafkaConsumer(
            low, bootstrap_servers=kafka, group_id=group.group, auto_offset_reset="earliest", **settings
        )
        await consumer.start()
        try:
            await consumer.getone()
            return int(consumer._coordinator.generation)
        finally:
            await consumer.stop()

    static = {"group_instance_id": "i0", "enable_auto_commit": False}
    assert await generation(**static) == await generation(**static)

    group, low = await one_band(kafka, 1)
    generations = []
    for _ in range(2):
        async with member(FaustShardStream, group) as owner:
            await until(partial(bool, owner.records), seconds=30)
            generations.append(owner.records[0].generation)
    assert generations[1] > generations[0]
