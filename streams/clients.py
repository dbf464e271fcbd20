"""Clients of Kafka, opened and closed so that nothing of them is left to the garbage collector.

While aiokafka connects for the first time, its connection is known to nobody but the call that makes it: cut off there,
or by a broker that goes away, a client would stay open for good.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

C = TypeVar("C", bound=AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient)

#: A client that is cut off while it connects may take so long to come to hold what it opened.
CONNECT_SECONDS_MAX = 1.0
#: What a client has to say at its end - what it was to send, that it leaves its group - may take so long.
STOP_SECONDS_MAX = 5.0


@asynccontextmanager
async def running(client: C) -> AsyncIterator[C]:
    """The client, started, and closed at the end.

    Raises:
        KafkaError: see `start`.
    """
    await start(client)
    try:
        yield client
    finally:
        await stop(client)


async def start(client: Any) -> None:
    """Start a client; one that cannot start, or is cut off, is closed again.

    Raises:
        KafkaError: Kafka cannot be reached.
    """
    starting = asyncio.ensure_future(client.start())
    try:
        await asyncio.shield(starting)
    except BaseException:
        try:
            if not starting.done():
                await asyncio.wait({starting}, timeout=CONNECT_SECONDS_MAX)
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
        finally:
            await stop(client)
        raise


async def stop(client: Any, seconds_max: float = STOP_SECONDS_MAX) -> None:
    """Close a client, started or not: in good order where its broker answers in time, its connections in any case."""
    close = client.close if isinstance(client, AIOKafkaAdminClient) else client.stop
    try:
        async with asyncio.timeout(seconds_max):
            await close()
    except (KafkaError, TimeoutError):
        connections = client.client if isinstance(client, AIOKafkaProducer) else client._client
        with suppress(KafkaError):
            await connections.close()
