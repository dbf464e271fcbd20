"""Work that one process of an installation does, while others watch: turns taken by whoever leads.

Who comes to lead, by a start or since another process is gone, knows of that other one's work only what the read model
shows, and that may lag: tasks that were moved or ended could still be shown as waiting, in an older state. So a lead
begins when the read model has seen all that the log held when it came.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

from streams.log import LogUnavailable
from streams.ports import ReadModelUnavailable
from streams.watermark import Watermark

logger = logging.getLogger(__name__)

POLL_INTERVAL_SECONDS = 0.5


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

    def __init__(self, given: Callable[[], bool], watermark: Watermark) -> None:
        """`given`: whether this process is the one that leads; the watermark is asked by nobody else."""
        self._given, self._watermark = given, watermark

    async def begun(self) -> bool:
        """Whether this process may move work now.

        Raises:
            LogUnavailable, ReadModelUnavailable: nobody can tell; it may not.
        """
        if self._given():
            return await self._watermark.passed()
        self._watermark.renew()
        return False


async def take_turns(works: Sequence[Turns], stop: asyncio.Event, lead: Lead) -> None:
    """Take turns until told to stop, or watch the leader's; outages are waited for, and one's stops no other."""
    while not stop.is_set():
        begun = False
        try:
            begun = await lead.begun()
        except (LogUnavailable, ReadModelUnavailable) as error:
            logger.warning("nobody can tell whether the lead has begun: %s", error)
        for work in works:
            at = datetime.now(UTC)
            try:
                await (work.turn(at) if begun else work.watch(at))
            except (LogUnavailable, ReadModelUnavailable) as error:
                logger.warning("%s waits: %s", type(work).__name__, error)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), POLL_INTERVAL_SECONDS)
