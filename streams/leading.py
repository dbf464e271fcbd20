"""Work that one process of an installation does, while others watch: turns taken by whoever leads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

from streams.log import LogUnavailable
from streams.ports import ReadModelUnavailable

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


async def take_turns(works: Sequence[Turns], stop: asyncio.Event, leads: Callable[[], bool]) -> None:
    """Take turns until told to stop, or watch the leader's; outages are waited for, and one's stops no other."""
    while not stop.is_set():
        for work in works:
            at = datetime.now(UTC)
            try:
                await (work.turn(at) if leads() else work.watch(at))
            except (LogUnavailable, ReadModelUnavailable) as error:
                logger.warning("%s waits: %s", type(work).__name__, error)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), POLL_INTERVAL_SECONDS)
