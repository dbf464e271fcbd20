"""Facts on their way to the log: sent in batches, acted on only when acknowledged, stopped by a rebalance.

One batch is in flight at a time; what is put meanwhile goes with the next one, so a busy worker pays one round trip
for many facts and an idle one sends at once. After a large batch there is a pause: a batch costs a request here, one
at the broker, and one of everybody who follows the log, however few facts it carries.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from schemas.events import LifecycleEvent
from streams.log import LogUnavailable

#: How often a worker that has stood still looks whether it is still a member.
DOUBT_SECONDS = 0.05
#: Facts of one batch: bounds the time that one batch holds back the next.
BATCH_FACTS_MAX = 500
RETRY_SECONDS = 0.5
#: Facts of a large batch, and the pause after it; the facts of a task or two never wait.
CROWD_FACTS = 8
CROWD_REST_SECONDS = 0.01


def _always() -> bool:
    return True


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Facts of one task, in order."""

    facts: Sequence[LifecycleEvent]
    #: Called on the event loop once the log has acknowledged all of them.
    then: Callable[[], None] = _nothing
    #: Asked before each try; a task of a lost shard writes nothing more.
    wanted: Callable[[], bool] = _always
    traceparent: str | None = None


class FactLog(Protocol):
    """What the outbox needs of `streams.log.EventLog`."""

    async def record_all(self, facts: Iterable[tuple[LifecycleEvent, str | None]]) -> list[asyncio.Future[Any]]:
        """See `EventLog.record_all`."""

    async def all_acknowledged(self, futures: Iterable[asyncio.Future[Any]]) -> None:
        """See `EventLog.all_acknowledged`."""

    async def flush(self) -> None:
        """See `EventLog.flush`."""


class Outbox:
    """Appends facts in the order in which they were put.

    While it is not `certain` that the shards are this worker's, nothing is sent, and nothing is done because of what
    was acknowledged: a worker that stood still must not start what its successor has.
    """

    def __init__(self, log: FactLog, certain: Callable[[], bool] = _always) -> None:
        self._log, self._certain = log, certain
        self._waiting: list[Outgoing] = []
        self._sending: list[Outgoing] = []
        self._wake = asyncio.Event()
        self._open = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._landed = asyncio.Event()
        self._landed.set()
        self._progress_at = asyncio.get_running_loop().time()
        self._logger = logging.getLogger(__name__)

    def __len__(self) -> int:
        return len(self._waiting) + len(self._sending)

    def put(self, outgoing: Outgoing) -> None:
        """Append the facts as soon as possible."""
        if not len(self):
            self.excuse()
        self._waiting.append(outgoing)
        self._idle.clear()
        self._wake.set()

    def stalled_seconds(self) -> float:
        """How long facts have waited without any being acknowledged; 0 while none waits or none may be sent."""
        if not len(self) or not self._open.is_set():
            return 0.0
        return asyncio.get_running_loop().time() - self._progress_at

    def excuse(self) -> None:
        """What has stalled so far is nobody's fault: count from now."""
        self._progress_at = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Send what is put, for ever. While the log is away the facts wait, in order."""
        while True:
            await self._wake.wait()
            await self._open.wait()
            self._wake.clear()
            while self._waiting and self._open.is_set():
                if not self._certain():
                    await asyncio.sleep(DOUBT_SECONDS)
                    continue
                self._sending, self._waiting = self._waiting[:BATCH_FACTS_MAX], self._waiting[BATCH_FACTS_MAX:]
                self._landed.clear()
                rest_seconds = CROWD_REST_SECONDS if len(self._sending) >= CROWD_FACTS else 0.0
                if not await self._send():
                    self._waiting, self._sending = self._sending + self._waiting, []
                    rest_seconds = RETRY_SECONDS
                self._landed.set()
                if rest_seconds:
                    await asyncio.sleep(rest_seconds)
            if self._waiting:
                self._wake.set()
            else:
                self._idle.set()

    async def freeze(self, timeout_seconds: float) -> None:
        """Send nothing more; returns when nothing is in flight, or after the timeout."""
        self._open.clear()
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._landed.wait()
                await self._log.flush()
        except TimeoutError:
            self._logger.warning("facts still in flight when the shards were given up", extra={"facts": len(self)})

    def thaw(self) -> None:
        """Go on sending; what is no longer wanted is dropped."""
        self.excuse()
        self._open.set()

    async def drained(self) -> None:
        """Returns when everything that was put is acknowledged."""
        await self._idle.wait()

    async def _send(self) -> bool:
        self._sending = [outgoing for outgoing in self._sending if outgoing.wanted()]
        try:
            futures = await self._log.record_all(
                [(fact, outgoing.traceparent) for outgoing in self._sending for fact in outgoing.facts]
            )
        except LogUnavailable as error:
            self._logger.warning("facts wait for the log: %s", error)
            return False
        if not await self._acknowledged(futures):
            return False
        self._landed.set()
        while not (self._open.is_set() and self._certain()):
            await self._open.wait()
            await asyncio.sleep(DOUBT_SECONDS)
        sent, self._sending = self._sending, []
        self.excuse()
        for outgoing in sent:
            outgoing.then()
        return True

    async def _acknowledged(self, futures: Sequence[asyncio.Future[Any]]) -> bool:
        """Whether the log has taken all of them; no appends are given up while the producer still tries them itself.

        Appending again what is merely late would multiply every fact of an outage.
        """
        while not all(future.done() for future in futures):
            try:
                await self._log.all_acknowledged(futures)
            except LogUnavailable as error:
                self._logger.warning("facts wait for the log: %s", error)
        return all(future.exception() is None for future in futures)
