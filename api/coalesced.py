"""One question at a time, however many ask it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Coalesced(Generic[T]):
    """Shares calls among callers; each gets the answer of a call that began after it asked.

    So the answer is never older than the question, and hundreds of callers cost two calls, not hundreds.
    """

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        self._call = call
        self._running: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """The answer.

        Raises whatever the call raises.
        """
        if self._running is None:
            self._running = self._start(self._call())
            return await asyncio.shield(self._running)
        if self._next is None:
            self._next = self._start(self._after(self._running))
        return await asyncio.shield(self._next)

    async def _after(self, before: asyncio.Task[T]) -> T:
        await asyncio.wait([before])
        # From here on this is the running call; who asks later needs another one.
        self._running, self._next = self._next, None
        return await self._call()

    def _start(self, call: Awaitable[T]) -> asyncio.Task[T]:
        task = asyncio.ensure_future(call)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[T]) -> None:
        if task is self._running and self._next is None:
            self._running = None
        if not task.cancelled():
            task.exception()  # retrieved: a caller that went away leaves nobody to see it
