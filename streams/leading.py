"""Work that one process of an installation does, while others watch: turns taken by whoever leads.

Who comes to lead, by a start or since another process is gone, knows of that other one's work only what the read model
shows, and that may lag: tasks that were moved or ended could still be shown as waiting, in an older state. So a lead
begins when the read model has seen all that the log held when it came.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

from streams.cluster import Offsets
from streams.log import LogUnavailable
from streams.ports import ReadModelUnavailable

logger = logging.getLogger(__name__)

POLL_INTERVAL_SECONDS = 0.5
#: A leader that cannot begin says so this often.
SAY_SECONDS = 10.0


class Turns(Protocol):
    """Something to do again and again. Both raise LogUnavailable or ReadModelUnavailable where that stops them."""

    async def turn(self, at: datetime) -> None:
        """Do what there is to do now."""
        ...

    async def watch(self, at: datetime) -> None:
        """Another process leads."""
        ...


class Lead:
    """Whether this process leads, and may begin to."""

    def __init__(
        self,
        given: Callable[[], bool],
        ends: Callable[[], Awaitable[Offsets]],
        projected: Callable[[], Awaitable[Offsets]],
    ) -> None:
        """`given`: whether this process is the one that leads; `ends` and `projected`: of every recorded topic."""
        self._given, self._ends, self._projected = given, ends, projected
        #: What the log held when the lead came and the read model has not shown yet; None before the log was asked.
        self._awaited: Offsets | None = None
        self._said_at = float("-inf")

    async def begun(self) -> bool:
        """Whether this process may move work now.

        Raises:
            LogUnavailable, ReadModelUnavailable: nobody can tell; it may not.
        """
        if not self._given():
            self._awaited = None
            return False
        if self._awaited is None:
            self._awaited = await self._ends()
        if self._awaited:
            projected = await self._projected()
            self._awaited = {place: end for place, end in self._awaited.items() if projected.get(place, 0) < end}
            self._say(projected)
        return not self._awaited

    def _say(self, projected: Offsets) -> None:
        if self._awaited and time.monotonic() - self._said_at >= SAY_SECONDS:
            self._said_at = time.monotonic()
            behind = sum(end - projected.get(place, 0) for place, end in self._awaited.items())
            logger.info("action=await_read_model records=%d", behind)


async def take_turns(works: Sequence[Turns], stop: asyncio.Event, lead: Lead) -> None:
    """Take turns until told to stop, or watch the leader's; outages are waited for, and one's stops no other."""
    while not stop.is_set():
        for work in works:
            at = datetime.now(UTC)
            try:
                await (work.turn(at) if await lead.begun() else work.watch(at))
            except (LogUnavailable, ReadModelUnavailable) as error:
                logger.warning("%s waits: %s", type(work).__name__, error)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), POLL_INTERVAL_SECONDS)
