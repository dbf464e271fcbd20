"""Traps of back-pressure: records lost or bands stopped where one has no room, and not with ours.

The first part of each test documents Faust 0.15.3. If one of these begins to fail after an upgrade, Faust has mended
the trap, and what we do against it may go.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from faust.types import TP

from streams.faust_consumer import BUSY_FETCH_MS, IDLE_FETCH_MS
from streams.faust_stream import FaustShardStream
from tests.support.memory_worker import until
from tests.support.plain_faust import collect, one_band, plain_app, running
from tests.support.shards import committed, member, new_class, produce

pytestmark = pytest.mark.external_service

#: How long it is waited for what is not to happen.
NEVER_SECONDS = 2.0


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
    lost = set(range(count)) - set(seen)
    assert lost
    assert (await committed(group))[(low, 0)] > min(lost)


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


async def test_a_fetch_that_waits_for_empty_bands(kafka: str) -> None:
    """Faust's fetches wait for 1.5 s: what lies ahead in one band waits while the empty ones are asked alone.

    Ours wait for a moment while records come, and as long as Faust's while none do.
    """
    group = await new_class(kafka)
    async with member(FaustShardStream, group) as owner:
        stream: Any = owner.stream

        def waits_ms() -> int:
            return int(stream._app.consumer._thread._consumer._fetcher._fetch_max_wait_ms)

        await until(lambda: owner.ownerships and waits_ms() == 1500, seconds=30)
        await produce(kafka, [(group.topics[0], 0, b"")])
        await until(lambda: owner.records, seconds=30)
        assert waits_ms() == BUSY_FETCH_MS
        await until(lambda: waits_ms() == IDLE_FETCH_MS == 1500, seconds=30)
