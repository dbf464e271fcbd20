"""Whether the read model has seen all that the log held when somebody asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from api.coalesced import Coalesced
from api.ports import Broker, ReadModel
from streams import intake, topics
from streams.cluster import Offsets

POLL_INTERVAL_SECONDS = 0.05


class Watermark:
    """Shared by all requests: however many wait, broker and PostgreSQL are asked one question at a time."""

    def __init__(self, broker: Broker, read_model: ReadModel, classes: Iterable[str]) -> None:
        recorded: Sequence[str] = topics.recorded_topics(classes)
        self._recorded = frozenset(recorded)
        self._ends = Coalesced(lambda: broker.ends((*recorded, topics.INTAKE)))
        self._taken_in = Coalesced(lambda: broker.committed(intake.GROUP))
        self._projected = Coalesced(read_model.projected)

    async def passed(self, timeout_seconds: float) -> bool:
        """Wait until the read model has seen the log's present end; False when that takes too long.

        Raises:
            LogUnavailable, ReadModelUnavailable: one of them cannot be asked.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                ends = await self._ends()
                if not _reached(await self._taken_in(), _of(ends, {topics.INTAKE})):
                    await self._reach(self._taken_in, _of(ends, {topics.INTAKE}))
                    # Intake has answered in the recorded topics: their ends count from here.
                    ends = await self._ends()
                await self._reach(self._projected, _of(ends, self._recorded))
        except TimeoutError:
            return False
        return True

    async def _reach(self, positions: Coalesced[Offsets], ends: Offsets) -> None:
        while not _reached(await positions(), ends):  # noqa: ASYNC110 - the positions are another process's
            await asyncio.sleep(POLL_INTERVAL_SECONDS)

    async def behind(self) -> tuple[Offsets, int]:
        """The projector's positions, and how many records it has yet to fold.

        Raises:
            LogUnavailable, ReadModelUnavailable: one of them cannot be asked.
        """
        projected = await self._projected()
        ends = _of(await self._ends(), self._recorded)
        return projected, sum(max(0, end - projected.get(place, 0)) for place, end in ends.items())


def _of(offsets: Offsets, wanted: Iterable[str]) -> Offsets:
    names = frozenset(wanted)
    return {place: offset for place, offset in offsets.items() if place[0] in names}


def _reached(positions: Offsets, ends: Offsets) -> bool:
    return all(positions.get(place, 0) >= end for place, end in ends.items())
