"""Faust as a reader of its manual would use it, for tests of the traps that this opens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import faust

from streams.shard_stream import GroupMembership
from tests.support.shards import committed, new_class, produce

Body = Callable[[Any], Any]


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
    # Faust makes a folder for tables where it was started, whether there are any or not.
    with TemporaryDirectory(prefix="penstock-faust-") as folder:
        app.conf.datadir = Path(folder)
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
