"""Traps of acknowledging: what Faust commits that was not finished, and ours does not.

The first part of each test documents Faust 0.15.3. If one of these begins to fail after an upgrade, Faust has mended
the trap, and what we do against it may go.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from faust.types import TP

from agents.frontier import AckFrontier
from streams.faust_stream import FaustShardStream
from streams.shard_stream import ShardRecord
from tests.support.memory_worker import until
from tests.support.plain_faust import collect, handed_out, newest, one_band, plain_app, running, until_committed
from tests.support.shards import committed, member

pytestmark = pytest.mark.external_service


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
