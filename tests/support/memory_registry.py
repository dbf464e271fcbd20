"""The registry in memory: what the API has recorded holds at once, unless a test makes it lag."""

from __future__ import annotations

import asyncio
from functools import reduce
from typing import TYPE_CHECKING

from domain.configuration import Configuration, apply
from schemas.configuration import ConfigurationEvent
from streams import topics

if TYPE_CHECKING:
    from tests.support.memory_world import MemoryLog


class MemoryRegistry:
    """Implements `api.ports.Registry` on a log in memory."""

    def __init__(self, log: MemoryLog, first: Configuration | None = None) -> None:
        self._log = log
        self._first = first or Configuration()
        #: False: it has read nothing yet, and never will.
        self.reading = True

    @property
    def changes(self) -> list[ConfigurationEvent]:
        """All that was recorded."""
        return list(self._log.records[topics.REGISTRY])

    @property
    def configuration(self) -> Configuration:
        """All that was recorded, applied."""
        return reduce(apply, self.changes, self._first)

    async def run(self) -> None:
        """For ever."""
        await asyncio.Event().wait()

    async def caught_up(self) -> None:
        """At once, unless it does not read."""
        if not self.reading:
            await asyncio.Event().wait()

    async def applied(self, offset: int, timeout_seconds: float) -> bool:
        """At once, unless it does not read."""
        return self.reading
