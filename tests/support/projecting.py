"""A projector that runs, and waiting for what it must bring about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from projections.database import reading
from projections.runner import ProjectorConfig, run_projector
from streams.ports import ReadModelUnavailable

DEADLINE_SECONDS = 60

Query = Callable[[AsyncConnection], Awaitable[bool]]


@asynccontextmanager
async def projecting(config: ProjectorConfig) -> AsyncIterator[None]:
    """A projector that runs meanwhile, and is stopped in good order."""
    stop = asyncio.Event()
    task = asyncio.create_task(run_projector(config, stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, DEADLINE_SECONDS)


async def eventually(engine: AsyncEngine, holds: Query) -> None:
    """Wait until a query says so; outages count as no."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                async with reading(engine) as connection:
                    if await holds(connection):
                        return
            except ReadModelUnavailable:
                pass
            await asyncio.sleep(0.05)
