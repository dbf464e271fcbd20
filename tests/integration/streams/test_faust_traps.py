"""Each trap of Faust that the shard port must keep shut: Faust as it comes falls in, ours does not.

The first part of each test documents Faust 0.15.3. If one of these begins to fail after an upgrade, Faust has mended
the trap, and what we do against it may go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
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

from agents.frontier import AckFrontier
from streams.assignor import ShardAssignor, assignor_of
from streams.faust_stream import FaustShardStream
from streams.shard_stream import GroupMembership, Ownership, ShardRecord
from tests.support.memory_worker import until
from tests.support.shards import committed, member, new_class, produce

pytestmark = pytest.mark.external_service

Body = Callable[[Any], Any]
#: How long it is waited for what is not to happen.
NEVER_SECONDS = 2.0


def plain_app(group: GroupMembership, **settings: Any) -> faust.App:
    """An app as a reader of Faust's manual would write it."""
    values: dict[str, Any] = {
        "broker": f"kafka://{group.bootstrap_servers}",
        "store": "memory://",
        "web_enabled": False,
        "autodiscover": False,
        "topic_disable_leader": True,
        "topic_allow_declare": False,
        "consumer_auto_offset_reset": "earliest",
        "broker_commit_interval": 0.2,
        "broker_session_timeout": 6.0,
        "broker_heartbeat_interval": 0.3,
        "stream_wait_empty": False,
    }
    return faust.App(group.group, **values | settings)


@asynccontextmanager
async def running(app: faust.App, bodies: dict[str, Body]) -> AsyncIterator[faust.App]:
    """The app, with one agent for each topic."""
    for name, body in bodies.items():
        topic = app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        app.agent(topic, name=f"{app.conf.id}-{name}")(body)
    app.finalize()
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


def collect(events: list[Any]) -> Body:
    """A body that keeps every event and acknowledges none."""

    async def take(stream: Any) -> None:
        async for event in stream.noack().events():
            events.append(event)  # noqa: PERF401 - a comprehension would show nothing before the stream ends

    return take


def handed_out(events: list[Any], generation: int) -> list[Any]:
    """Events of one generation."""
    return [event for event in events if event.message.generation_id == generation]


def newest(events: list[Any]) -> int:
    """The latest generation in which any were handed out."""
    return max(int(event.message.generation_id) for event in events)


async def until_committed(group: GroupMembership, topic: str, offset: int) -> None:
    """Return once the broker has the offset for the first shard."""
    async with asyncio.timeout(30):
        while (await committed(group)).get((topic, 0)) != offset:
            await asyncio.sleep(0.1)


async def one_band(kafka: str, count: int) -> tuple[GroupMembership, str]:
    """A class of one shard, with records on its low band."""
    group = await new_class(kafka, shards=1)
    low = group.topics[-1]
    await produce(kafka, [(low, 0, f"{number}".encode()) for number in range(count)])
    return replace(group, topics=(low,)), low


async def test_a_body_that_raises(kafka: str) -> None:
    """Faust acknowledges the record, and nobody ever hears of it again."""
    group, low = await one_band(kafka, 3)
    seen: list[bytes] = []

    async def take(stream: Any) -> None:
        async for value in stream:
            seen.append(value)
            if value == b"1":
                raise RuntimeError("a bug in the handler")

    async with running(plain_app(group), {low: take}):
        await until(lambda: b"2" in seen, seconds=30)
    assert (await committed(group))[(low, 0)] == 3

    group, low = await one_band(kafka, 3)

    def fail(record: ShardRecord) -> None:
        if record.offset == 1:
            raise RuntimeError("a bug in the owner")
        owner.stream.ack(record)

    async with member(FaustShardStream, group) as owner:
        owner.on_record = fail
        with pytest.raises(RuntimeError, match="a bug in the owner"):
            await asyncio.wait_for(owner.stream.ended(), 30)
    assert (await committed(group))[(low, 0)] == 1
    async with member(FaustShardStream, group) as successor:
        await until(lambda: 1 in [record.offset for record in successor.records], seconds=30)


async def test_an_unfinished_record_before_finished_ones(kafka: str) -> None:
    """Faust commits past a single gap."""
    group, low = await one_band(kafka, 5)
    events: list[Any] = []
    async with running(plain_app(group), {low: collect(events)}):
        await until(lambda: len(events) == 5, seconds=30)
        events[0].ack()
        await until_committed(group, low, 1)
        for offset in (2, 3):
            events[offset].ack()
    assert (await committed(group))[(low, 0)] == 4, "record 1 is unfinished"

    group, low = await one_band(kafka, 5)
    frontier = AckFrontier()
    async with member(FaustShardStream, group) as owner:
        owner.on_record = frontier.received
        await until(lambda: len(owner.records) == 5, seconds=30)
        for offset in (0, 2, 3):
            for record in frontier.finish(offset, 0.0):
                owner.stream.ack(record)
    assert (await committed(group))[(low, 0)] == 1


async def test_back_pressure_by_pausing(kafka: str) -> None:
    """Faust drops the rest of the batch of a paused partition, and later commits past the hole.

    Ours is held to losing nothing by the conformance tests of `full` and `drained`.
    """
    count = 4_000
    group, low = await one_band(kafka, count)
    seen: list[int] = []
    app = plain_app(group, broker_max_poll_records=500)

    async def take(stream: Any) -> None:
        async for event in stream.events():
            seen.append(event.message.offset)
            if len(seen) == 700:
                app.consumer.pause_partitions({TP(low, 0)})
                asyncio.get_running_loop().call_later(0.5, app.consumer.resume_partitions, {TP(low, 0)})

    async with running(app, {low: take}):
        await until(lambda: seen and seen[-1] == count - 1, seconds=30)
    assert len(seen) < count
    assert (await committed(group))[(low, 0)] == count


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
    apps = [plain_app(group, table_standby_replicas=0, datadir=f"/tmp/faust-{number}") for number in range(3)]  # noqa: S108 - nothing is written there
    bodies = {topic: collect([]) for topic in group.topics}

    def balanced() -> bool:
        return all(len(app.consumer.assignment()) == 4 for app in apps)

    async with running(apps[0], bodies), running(apps[1], bodies), running(apps[2], bodies):
        await until(balanced, seconds=40)
        owners = {tp: number for number, app in enumerate(apps) for tp in app.consumer.assignment()}
    torn = [shard for shard in range(4) if len({owners[TP(topic, shard)] for topic in group.topics}) > 1]
    assert torn


async def test_a_band_whose_body_waits(kafka: str) -> None:
    """Faust hands everything out through one loop: a full band stops all of them.

    Ours is held to the opposite by the conformance test of a full band.
    """
    group = await new_class(kafka, shards=1)
    high, _, low = group.topics
    await produce(kafka, [(low, 0, b"") for _ in range(3_000)])
    room = asyncio.Event()
    started, urgent = asyncio.Event(), asyncio.Event()

    async def wait_for_room(stream: Any) -> None:
        async for _ in stream:
            started.set()
            await room.wait()

    async def take(stream: Any) -> None:
        async for _ in stream:
            urgent.set()

    app = plain_app(group, stream_buffer_maxsize=256, broker_max_poll_records=200)
    async with running(app, {low: wait_for_room, high: take}):
        await asyncio.wait_for(started.wait(), 20)
        await produce(kafka, [(high, 0, b"")])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(urgent.wait(), NEVER_SECONDS)
        room.set()
        await asyncio.wait_for(urgent.wait(), 20)


async def test_a_commit_that_a_rebalance_overtakes(kafka: str) -> None:
    """The shard left after Faust had looked: it ends the whole worker; ours goes on."""
    group, low = await one_band(kafka, 1)
    gone = {TP(low, 7): 1}
    app = plain_app(group)
    events: list[Any] = []
    async with running(app, {low: collect(events)}):
        await until(lambda: events, seconds=30)
        consumer: Any = app.consumer
        await consumer._commit(gone)
        await until(lambda: app.crash_reason, seconds=30)
    assert isinstance(app.crash_reason, ValueError)

    group, low = await one_band(kafka, 1)
    async with member(FaustShardStream, group) as owner:
        await until(lambda: owner.records, seconds=30)
        stream: Any = owner.stream
        assert not await stream._app.consumer._commit({TP(low, 7): 1})
        assert stream._app.crash_reason is None
        owner.stream.ack(owner.records[0])
        await until_committed(group, low, 1)


async def test_a_late_acknowledgement_of_the_generation_before(kafka: str) -> None:
    """Faust takes it, and commits past what is unfinished in this generation."""
    group, low = await one_band(kafka, 10)
    events: list[Any] = []
    app = plain_app(group)
    async with running(app, {low: collect(events)}):
        await until(lambda: len(events) == 10, seconds=30)
        events[0].ack()
        await until_committed(group, low, 1)
        first = app.consumer_generation_id
        async with running(plain_app(group), {low: collect([])}) as other:
            await until(lambda: other.consumer_generation_id > first, seconds=30)
        # One generation for the join and one for the leave at least; a slow join takes more.
        await until(lambda: newest(events) >= first + 2 and len(handed_out(events, newest(events))) == 9, seconds=30)
        again = {event.message.offset: event for event in handed_out(events, newest(events))}
        events[5].ack()
        for offset in (1, 2, 3):
            again[offset].ack()
        await app.consumer.commit()
    assert (await committed(group))[(low, 0)] > 4, "record 4 is unfinished"

    group, low = await one_band(kafka, 10)
    async with member(FaustShardStream, group) as owner:
        await until(lambda: len(owner.records) == 10, seconds=30)
        owner.stream.ack(owner.records[0])
        await until_committed(group, low, 1)
        old = list(owner.records)
        async with member(FaustShardStream, group) as second:
            await until(lambda: second.ownerships, seconds=30)

        def handed_out_again() -> list[ShardRecord]:
            generation = owner.records[-1].generation
            return [one for one in owner.records if one.generation == generation >= old[0].generation + 2]

        await until(lambda: len(handed_out_again()) == 9, seconds=30)
        owner.stream.ack(old[5])
        for record in handed_out_again()[:3]:
            owner.stream.ack(record)
    assert (await committed(group))[(low, 0)] == 4


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


@pytest.mark.slow
async def test_a_poll_limit_while_all_bands_are_full(kafka: str) -> None:
    """Faust leaves the group and never comes back. Ours stays: the conformance test of full bands."""
    group, low = await one_band(kafka, 1)
    events: list[Any] = []
    app = plain_app(group, broker_max_poll_interval=2.0)

    def outside() -> bool:
        consumer: Any = app.consumer
        return not consumer._thread._consumer._coordinator.member_id

    async with running(app, {low: collect(events)}):
        await until(lambda: events, seconds=30)
        app.consumer.on_buffer_full(TP(low, 0))
        await until(outside, seconds=30)
        app.consumer.on_buffer_drop(TP(low, 0))
        await produce(kafka, [(low, 0, b"again")])
        with pytest.raises(AssertionError, match="in vain"):
            await until(lambda: len(events) > 1, seconds=2 * NEVER_SECONDS)
        assert outside()
