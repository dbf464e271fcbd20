"""Functions that every installation has for tasks of type `custom`."""

from __future__ import annotations

import asyncio

from agents.context import TaskContext
from agents.handlers.registry import function

#: How often a sleeping task says that it is alive, in seconds.
HEARTBEAT_SECONDS = 1.0


@function("noop")
async def noop(**args: object) -> dict[str, object]:
    """Return the arguments at once: measures what the scheduler itself costs."""
    return args


@function("sleep")
async def sleep(ctx: TaskContext, seconds: float) -> dict[str, object]:
    """Wait so many seconds, showing progress: to try out queues, cancelling and timeouts."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    while (slept := loop.time() - started) < seconds:
        await ctx.progress(percent=100 * slept / seconds)
        await asyncio.sleep(min(HEARTBEAT_SECONDS, seconds - slept))
    return {"slept_seconds": seconds}
