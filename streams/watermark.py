"""Whether the read model has seen all that the log held at some moment."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from streams.cluster import Offsets

logger = logging.getLogger(__name__)

#: Who waits for long says so this often.
SAY_SECONDS = 10.0

#: Positions in every recorded topic: where the log ends, or up to where the read model has seen it.
Positions = Callable[[], Awaitable[Offsets]]


class Watermark:
    """The log's end as it was when it was first asked for, until it is renewed."""

    def __init__(self, ends: Positions, projected: Positions) -> None:
        self._ends, self._projected = ends, projected
        #: What the read model has not shown yet; None before the log was asked.
        self._awaited: Offsets | None = None
        self._said_at = float("-inf")

    def renew(self) -> None:
        """The log is to be asked again: from now on a later end counts."""
        self._awaited = None

    async def passed(self) -> bool:
        """Whether the read model has seen it.

        Raises:
            LogUnavailable, ReadModelUnavailable: nobody can tell.
        """
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
