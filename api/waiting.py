"""Callers that wait for the end of a task: hundreds of them cost one connection and one query at a time."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress

from streams.ports import ReadModelUnavailable

logger = logging.getLogger(__name__)

#: Without a notification, ended tasks are looked for this often.
POLL_INTERVAL_SECONDS = 1.0
#: Notifications closer than this are answered together.
PAUSE_SECONDS = 0.02
#: Tasks asked for by one query.
BATCH_MAX = 1000


class Waiters:
    """Wakes who waits for a task once it has ended."""

    def __init__(self, terminal: Callable[[Collection[str]], Awaitable[set[str]]]) -> None:
        self._terminal = terminal
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._news = asyncio.Event()

    def heard(self) -> None:
        """Tasks have ended: look now."""
        self._news.set()

    @asynccontextmanager
    async def watch(self, task_id: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set when the read model shows the task's end; begin to watch before looking."""
        ended = asyncio.Event()
        self._waiting[task_id].add(ended)
        try:
            yield ended
        finally:
            self._waiting[task_id].discard(ended)
            if not self._waiting[task_id]:
                del self._waiting[task_id]

    async def run(self) -> None:
        """Look for ended tasks until cancelled."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), POLL_INTERVAL_SECONDS)
            self._news.clear()
            try:
                await self.look()
            except ReadModelUnavailable as error:
                logger.warning("callers wait on: %s", error)
                await asyncio.sleep(POLL_INTERVAL_SECONDS)
            await asyncio.sleep(PAUSE_SECONDS)

    async def look(self) -> None:
        """Wake whoever waits for a task that has ended.

        Raises:
            ReadModelUnavailable: PostgreSQL cannot be reached.
        """
        watched = list(self._waiting)
        for start in range(0, len(watched), BATCH_MAX):
            for task_id in await self._terminal(watched[start : start + BATCH_MAX]):
                for ended in self._waiting.get(task_id, ()):
                    ended.set()
