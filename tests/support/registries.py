"""Following the registry in a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from streams.registry import RegistryTail

PATIENCE_SECONDS = 30


@asynccontextmanager
async def following(tail: RegistryTail) -> AsyncIterator[RegistryTail]:
    """The tail at work, once it has caught up."""
    running = asyncio.create_task(tail.run())
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await tail.caught_up()
        yield tail
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
