"""The bound on each class's queue: who may come in, and what the others are told."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager

from api.coalesced import Coalesced
from api.ports import Broker, ReadModel
from api.problems import FULL_RETRY_SECONDS, QUEUE_FULL, Problem
from streams import topics
from streams.admission import Admission, Place
from streams.log import LogUnavailable
from streams.ports import ReadModelUnavailable

logger = logging.getLogger(__name__)

#: A view of the queues older than this is renewed, in the background as long as there is room.
AGE_SECONDS_MAX = 0.5
#: A PostgreSQL that takes longer to say how much waits is as good as away.
LOOK_SECONDS_MAX = 2.0
#: A workflow's tasks come to their queues through intake; for so long this process counts them by itself.
ON_THE_WAY_SECONDS = 2.0


class Queues:
    """Admission for one API process."""

    def __init__(self, broker: Broker, read_model: ReadModel, depth_max: int) -> None:
        self._broker = broker
        self._depth_max = depth_max
        self._admission = Admission(depth_max)
        self._read = Coalesced(read_model.queue)
        self._lags: dict[str, Coalesced[int]] = {}
        self._seen_at: float | None = None
        self._tried_at = float("-inf")
        self._renewal: asyncio.Task[bool] | None = None

    @asynccontextmanager
    async def place(self, resource_class: str) -> AsyncIterator[Place]:
        """A place in the queue while the block appends.

        Raises:
            Problem: 429, the queue is full.
        """
        await self._let_in(resource_class, 1)
        with self._admission.place(resource_class) as place:
            yield place

    @asynccontextmanager
    async def places(self, wanted: Mapping[str, int]) -> AsyncIterator[None]:
        """So many places by class while the block appends one record for all, and while intake makes tasks of it.

        What could never fit is let in where nothing waits: intake puts aside what is too much.

        Raises:
            Problem: 429, one of the queues is too full; no place is taken then.
        """
        with ExitStack() as places:
            for resource_class, count in wanted.items():
                await self._let_in(resource_class, min(count, self._depth_max))
                places.enter_context(self._admission.place(resource_class, count))
            yield
            asyncio.get_running_loop().call_later(ON_THE_WAY_SECONDS, places.pop_all().close)

    async def _let_in(self, resource_class: str, count: int) -> None:
        if self._seen_at is None:
            await self._look()
        elif time.monotonic() - self._tried_at > AGE_SECONDS_MAX and (self._renewal is None or self._renewal.done()):
            self._renewal = asyncio.create_task(self._look())
        if self._admission.room(resource_class) >= count:
            return
        sees = await self._look()
        if self._admission.room(resource_class) >= count:
            return
        depth = self._admission.depth(resource_class)
        if not sees or self._admission.unseen(resource_class):
            # The read model does not show all: what the class has not acknowledged is at least what waits.
            depth = min(depth, await self._lag(resource_class))
        if depth + count > self._depth_max:
            more = f", and {count} more would come" if count > 1 else ""
            raise Problem(
                QUEUE_FULL,
                f"{depth} tasks of class {resource_class!r} wait{more}; the bound is {self._depth_max}",
                retry_after_seconds=FULL_RETRY_SECONDS,
                resource_class=resource_class,
                depth=depth,
                depth_max=self._depth_max,
            )

    async def _look(self) -> bool:
        """Renew the view; False while PostgreSQL is away, when the log still takes tasks."""
        self._tried_at = time.monotonic()
        try:
            async with asyncio.timeout(LOOK_SECONDS_MAX):
                snapshot = await self._read()
        except (ReadModelUnavailable, TimeoutError) as error:
            logger.warning("the queues cannot be seen: %s", str(error) or type(error).__name__)
            self._seen_at = self._seen_at or self._tried_at
            return False
        self._admission.observe(snapshot)
        self._seen_at = time.monotonic()
        return True

    async def _lag(self, resource_class: str) -> int:
        ask = self._lags.setdefault(
            resource_class,
            Coalesced(lambda: self._broker.lag(f"agents-{resource_class}", topics.class_topics(resource_class))),
        )
        try:
            return await ask()
        except LogUnavailable:
            return self._depth_max
