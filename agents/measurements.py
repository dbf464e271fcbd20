"""What this worker has measured of its models, and what the others say: the ground on which routes are chosen.

Workers tell their figures in the row of `agents.dispatch_status`. Without PostgreSQL, or while it is away, a worker
goes by its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import psycopg

from domain import provider_errors as codes
from domain.dispatch_status import Dispatcher, dispatcher_of
from domain.errors import TaskError
from domain.limits.tickets import BACKOFF, Refusal
from domain.measurements import Block, Samples, Summary, measured, summary_of
from domain.routing import Measurement
from projections.database import connect
from schemas.models import ModelDefinition

#: How old the others' figures may become.
READ_SECONDS: Final = 1.0
#: How long one reckoning serves.
FRESH_SECONDS: Final = 0.25
#: Failures that say something of the provider, beyond the request at hand.
_FAULTS: Final = codes.HEALED_ELSEWHERE - {codes.CONTEXT_EXCEEDED}
_STATUS: Final = (
    "SELECT worker, resource_class, updated_at, status FROM coordination.dispatch_status"
    " WHERE resource_class = %s AND updated_at > clock_timestamp() - interval '10 s'"
)
#: The database's clock counts: `until` is told as a wait from now.
_BLOCKED: Final = (
    "SELECT name, until - extract(epoch FROM clock_timestamp())::float8, words FROM"
    " (SELECT name, until, 'circuit open' AS words FROM coordination.circuits"
    " UNION ALL SELECT name, until, 'rate limited' FROM coordination.blocked_providers) AS closed"
    " WHERE until > extract(epoch FROM clock_timestamp()) ORDER BY until"
)


class Measurements:
    """Of one worker. `clock` is in seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._own: dict[str, Samples] = defaultdict(Samples)
        self._blocks: dict[str, Block] = {}
        #: Providers that the gates of this worker keep tasks from.
        self.closed: Callable[[], Mapping[str, Block]] = dict
        self._worker = ""
        self._others: Sequence[tuple[Dispatcher, Mapping[str, Any]]] = ()
        self._told_blocks: Mapping[str, Block] = {}
        #: Tasks sent to a model since the queues were last heard of: a burst must not all go to the same one.
        self._sent: Counter[str] = Counter()
        self._fresh: tuple[float, Mapping[str, ModelDefinition], dict[str, Measurement]] | None = None

    def ended(self, model: ModelDefinition, seconds: float, error: TaskError | None) -> None:
        """A call to a model has ended; interrupted ones are not told."""
        now = self._clock()
        if error is None:
            self._own[model.name].add(now, seconds)
        elif error.code in _FAULTS:
            self._own[model.name].add(now, None)
        if error is not None and error.retry_after_seconds and model.provider is not None:
            words = "rate limited" if error.code == codes.RATE_LIMITED else "unavailable"
            self._blocks[model.provider] = Block(now + error.retry_after_seconds, words)
        self._fresh = None

    def sent(self, model: str) -> None:
        """A task was sent to the model."""
        self._sent[model] += 1

    def told(self) -> dict[str, Any]:
        """This worker's figures, for the others."""
        now = self._clock()
        summaries = {name: samples.summary(now) for name, samples in self._own.items()}
        return {name: each.as_json() for name, each in summaries.items() if each.successes or each.failures}

    def of(self, models: Mapping[str, ModelDefinition]) -> dict[str, Measurement]:
        """How each model is doing; worked out anew a few times a second at most, or when a call has ended."""
        now = self._clock()
        if self._fresh is None or self._fresh[1] is not models or not 0 <= now - self._fresh[0] < FRESH_SECONDS:
            self._fresh = now, models, self._worked_out(models, now)
        fresh = self._fresh[2]
        for name in self._sent.keys() & fresh.keys():
            fresh = {**fresh, name: replace(fresh[name], waiting=fresh[name].waiting + self._sent[name])}
        return fresh

    def _worked_out(self, models: Mapping[str, ModelDefinition], now: float) -> dict[str, Measurement]:
        summaries: dict[str, list[Summary]] = defaultdict(list)
        for name, samples in self._own.items():
            summaries[name].append(samples.summary(now))
        for dispatcher, figures in self._others:
            if dispatcher.worker != self._worker:
                for name, figure in figures.items():
                    summaries[name].append(summary_of(figure))
        blocks = {**self._told_blocks, **self.closed(), **self._blocks}
        return measured(models, summaries, [each for each, _ in self._others], blocks)

    async def follow(self, database_url: str, resource_class: str, worker: str) -> None:
        """Read the others' figures for ever."""
        self._worker = worker
        while True:
            try:
                async with await connect(database_url, autocommit=True) as connection:
                    while True:
                        async with asyncio.timeout(10 * READ_SECONDS):
                            await self._read(connection, resource_class)
                        await asyncio.sleep(READ_SECONDS)
            except (psycopg.Error, OSError, TimeoutError) as error:
                logging.getLogger(__name__).debug("nothing can be read of the other workers: %s", error)
                await asyncio.sleep(READ_SECONDS)

    async def _read(self, connection: psycopg.AsyncConnection, resource_class: str) -> None:
        rows = await (await connection.execute(_STATUS, [resource_class])).fetchall()
        self._others = [
            (dispatcher_of(worker, name, at, status), status.get("models") or {}) for worker, name, at, status in rows
        ]
        self._sent.clear()
        self._fresh = None
        now = self._clock()
        waits = await (await connection.execute(_BLOCKED)).fetchall()
        self._told_blocks = {name: Block(now + wait, words) for name, wait, words in waits}


def blocks(refusals: Mapping[str, Refusal], clock: float) -> dict[str, Block]:
    """What gates say of providers, whose clock stands at `clock`, by the calendar."""
    ahead = time.time() - clock
    return {
        name: Block(refusal.until + ahead, "circuit open" if refusal.cause == BACKOFF else "rate limited")
        for name, refusal in refusals.items()
        if refusal.until is not None
    }
