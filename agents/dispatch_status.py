"""Says once a second what waits here, in which lane, and what closes it: for whoever asks why a task waits.

PostgreSQL being away costs nobody anything: what would have been said is old a second later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from agents.core import Core
from domain.limits.tickets import Refusal
from domain.strategies.strategy import Lane
from projections.database import connect
from schemas.envelope import rfc3339

INTERVAL_SECONDS = 1.0
#: Lanes that are told of, those with most waiting tasks first: bounds the row.
LANES_MAX = 500
#: What a worker that ended said is deleted by another one after so long.
FORGET_AFTER = timedelta(hours=1)
_SAY = (
    "INSERT INTO coordination.dispatch_status (worker, resource_class, updated_at, status)"
    " VALUES (%s, %s, clock_timestamp(), %s)"
    " ON CONFLICT (worker, resource_class) DO UPDATE SET updated_at = excluded.updated_at, status = excluded.status"
)
_FORGET = "DELETE FROM coordination.dispatch_status WHERE updated_at < clock_timestamp() - %s::interval"
_LEAVE = "DELETE FROM coordination.dispatch_status WHERE worker = %s AND resource_class = %s"


class DispatchStatus:
    """The row of one worker."""

    def __init__(
        self, database_url: str, resource_class: str, core: Core, models: Callable[[], Mapping[str, Any]] = dict
    ) -> None:
        self._database_url, self._resource_class, self._core = database_url, resource_class, core
        #: What the worker has measured of its models; see `agents.measurements`.
        self._models = models
        self._connection: psycopg.AsyncConnection | None = None
        self._log = logging.getLogger(__name__)

    async def run(self) -> None:
        """Say it for ever; the row is deleted in the end."""
        try:
            while True:
                await self._attempt()
                await asyncio.sleep(INTERVAL_SECONDS)
        finally:
            with suppress(psycopg.Error, OSError, TimeoutError):
                async with asyncio.timeout(INTERVAL_SECONDS):
                    await self._leave()
            await self._disconnect()

    async def _attempt(self) -> None:
        try:
            async with asyncio.timeout(10 * INTERVAL_SECONDS):
                await self._say()
        except (psycopg.Error, OSError, TimeoutError) as error:
            self._log.debug("nobody can be told of the queue: %s", error)
            await self._disconnect()

    async def _say(self) -> None:
        connection = self._connection
        if connection is None:
            connection = self._connection = await connect(self._database_url, autocommit=True)
            await connection.execute(_FORGET, [FORGET_AFTER])
        said = {**status(self._core), "models": self._models()}
        await connection.execute(_SAY, [self._core.dispatcher.worker, self._resource_class, Jsonb(said)])

    async def _leave(self) -> None:
        if self._connection is not None:
            await self._connection.execute(_LEAVE, [self._core.dispatcher.worker, self._resource_class])

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error, OSError):
                await connection.close()


def status(core: Core) -> dict[str, Any]:
    """What `domain.dispatch_status.dispatcher_of` reads."""
    waiting, running = core.window.lanes(), core.running.lanes()
    lanes = sorted(waiting.keys() | running.keys(), key=lambda lane: (-waiting[lane], -running[lane]))
    clock_ahead = datetime.now(UTC).timestamp() - core.gatekeeper.gates.clock()
    return {
        "slots": core.running.slots,
        "running": len(core.running),
        "strategy": core.steering.choice.name,
        "lanes": [
            _lane(core, lane, waiting[lane], running[lane], core.gatekeeper.closed, clock_ahead)
            for lane in lanes[:LANES_MAX]
        ],
    }


def _lane(
    core: Core, lane: Lane, waiting: int, running: int, closed: Mapping[Lane, Refusal], clock_ahead: float
) -> dict[str, Any]:
    refusal = closed.get(lane) if waiting else None
    return {
        "model": lane.model,
        "provider": lane.provider,
        "task_type": lane.task_type,
        "tenant": lane.tenant,
        "waiting": waiting,
        "running": running,
        "closed_by": None if refusal is None else _closed_by(refusal, clock_ahead),
        "mean_seconds": core.maker.learned.known(lane.task_type, lane.model),
    }


def _closed_by(refusal: Refusal, clock_ahead: float) -> dict[str, Any]:
    """`until` is told by the calendar; the gates have a clock of their own, which is so many seconds behind it."""
    until = None
    if refusal.until is not None:
        until = rfc3339(datetime.fromtimestamp(refusal.until + clock_ahead, UTC))
    return {"cause": refusal.cause, "scope": refusal.scope, "name": refusal.name, "until": until}
