"""The table of leases in PostgreSQL, by whose clock all leases end."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final, LiteralString, cast

import psycopg
from psycopg import AsyncClientCursor, AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from agents.limits import statements
from agents.limits.ports import Exchanged, TableUnavailable
from agents.limits.rows import Row, bucket_row, buckets_of, lease_of, lease_row
from domain.limits.breaker import PROBE_SECONDS, SILENCE, Told, Words
from domain.limits.exchange import Answer, Ask, Buckets, Lease, Terms, concerns_others, exchange
from domain.limits.limit import Key
from projections.database import connect

#: An exchange that takes longer has failed, for its holder; what the table made of it, the next one finds. At least so
#: long, since a busy machine may take its time; else this share of the time for which a lease can be used.
EXCHANGE_SECONDS_MIN: Final = 1.0
EXCHANGE_SHARE: Final = 0.4
#: How long a process that ends waits for exchanges that were given up on.
CLOSE_SECONDS_MAX: Final = 0.2
#: A circuit that nobody has probed for so long is forgotten: nobody calls the provider any more.
FORGET_CIRCUITS_SECONDS: Final = 3600.0
#: PostgreSQL ends a transaction whose client says nothing for so long: a frozen worker must not keep the others' locks.
SILENCE_SECONDS_MAX: Final = 0.4
#: How long an exchange waits for one before it.
LOCK_SECONDS_MAX: Final = 0.8

_Connection = AsyncConnection[DictRow]


class PostgresTable:
    """Implements `LeaseTable`: one transaction an exchange, in which the rows of its limits are locked."""

    def __init__(self, database_url: str, terms: Terms | None = None) -> None:
        self.terms = terms or Terms()
        self._database_url = database_url
        usable_seconds = self.terms.lease_seconds - self.terms.margin_seconds
        self._timeout_seconds = max(EXCHANGE_SECONDS_MIN, EXCHANGE_SHARE * usable_seconds)
        self._connection: _Connection | None = None
        self._listening: AsyncConnection | None = None
        #: Exchanges given up on, which psycopg takes its time to cancel.
        self._abandoned: set[asyncio.Task[None]] = set()

    async def exchange(
        self, holder: str, serial: int, asks: Sequence[Ask], blocked: Mapping[str, float], words: Words = SILENCE
    ) -> Exchanged:
        """See `LeaseTable.exchange`."""
        under_way = asyncio.create_task(self._exchange(holder, serial, asks, blocked, words))
        try:
            await asyncio.wait({under_way}, timeout=self._timeout_seconds)
        finally:
            if not under_way.done():
                self._abandon(under_way)
        if not under_way.done():
            raise TableUnavailable(f"PostgreSQL did not answer in {self._timeout_seconds:g} s")
        try:
            return under_way.result()
        except (psycopg.Error, OSError) as error:
            await self._disconnect()
            raise TableUnavailable(str(error).strip().partition("\n")[0]) from error

    async def listen(self, holder: str) -> None:
        """See `LeaseTable.listen`; also after each reconnection, since something may have been missed."""
        try:
            if self._listening is None:
                self._listening = await connect(self._database_url, autocommit=True)
                await self._listening.execute(statements.LISTEN)
                return
            async with aclosing(self._listening.notifies()) as notices:
                async for notice in notices:
                    if notice.payload != holder:
                        return
        except (psycopg.Error, OSError) as error:
            listening, self._listening = self._listening, None
            if listening is not None:
                await _close(listening)
            raise TableUnavailable(str(error).strip().partition("\n")[0]) from error

    async def close(self) -> None:
        """See `LeaseTable.close`."""
        await self._disconnect()
        if self._listening is not None:
            await _close(self._listening)
            self._listening = None
        if self._abandoned:
            await asyncio.wait(self._abandoned, timeout=CLOSE_SECONDS_MAX)

    async def _exchange(
        self, holder: str, serial: int, asks: Sequence[Ask], blocked: Mapping[str, float], words: Words
    ) -> Exchanged:
        connection = self._connection
        if connection is None:
            connection = self._connection = await open_connection(self._database_url)
        cursor = AsyncClientCursor(connection)
        listed = _listed(sorted(ask.key for ask in asks))
        await cursor.execute(statements.BEGIN, [*listed, *listed, *listed])
        limits, leases, (moment,) = await _results(cursor)
        buckets = {_key(row): row for row in limits}
        known: dict[Key, list[Lease]] = defaultdict(list)
        for row in leases:
            known[_key(row)].append(lease_of(row))
        now = moment["now"]
        rows = _Rows(holder, serial, now, self.terms)
        for ask in asks:
            rows.add(ask, known[ask.key], buckets_of(buckets[ask.key], ask.limit))
        closing = rows.statements()
        if blocked:
            closing.append((statements.BLOCK, [list(blocked), [now + seconds for seconds in blocked.values()]]))
        closing += _about_circuits(words, holder, now)
        if rows.concern_others or blocked or words.opened or words.closed:
            closing.append((statements.TELL, [holder]))
        closing += [(statements.BLOCKED, [now, now]), (statements.CIRCUITS, [now, holder]), (statements.END, [])]
        await cursor.execute(
            ";".join(statement for statement, _ in closing), [value for _, values in closing for value in values]
        )
        *_, found, circuits = await _results(cursor)
        return Exchanged(
            rows.answers,
            {row["name"]: row["seconds"] for row in found},
            {row["name"]: Told(row["seconds"], row["times"], row["mine"]) for row in circuits},
        )

    def _abandon(self, under_way: asyncio.Task[Exchanged]) -> None:
        """A connection of which nobody knows what it is doing is used no more."""
        connection, self._connection = self._connection, None
        under_way.cancel()
        ending = asyncio.create_task(_end(under_way, connection))
        self._abandoned.add(ending)
        ending.add_done_callback(self._abandoned.discard)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await _close(connection)


class _Rows:
    """What one exchange writes."""

    def __init__(self, holder: str, serial: int, now: float, terms: Terms) -> None:
        self.answers: list[Answer] = []
        self.concern_others = False
        self._holder, self._serial, self._now, self._terms = holder, serial, now, terms
        self._leases: list[Row] = []
        self._buckets: list[Row] = []
        self._idle: list[Key] = []
        self._expired: list[Key] = []

    def add(self, ask: Ask, leases: Sequence[Lease], buckets: Buckets) -> None:
        """Apply the rule to one limit."""
        before = next((each for each in leases if each.holder == self._holder), None)
        if before is not None and before.serial >= self._serial:
            raise psycopg.DataError("a later exchange of this holder was heard already")
        lease, buckets, answer = exchange(ask, self._holder, self._serial, leases, buckets, self._now, self._terms)
        self.answers.append(answer)
        self.concern_others = self.concern_others or concerns_others(before, lease, answer)
        if ask.idle:
            self._idle.append(ask.key)
        else:
            self._leases.append(lease_row(ask.key, lease))
        if buckets.requests is not None or buckets.tokens is not None:
            self._buckets.append(bucket_row(ask.key, buckets))
        if any(each.expires_at <= self._now for each in leases):
            self._expired.append(ask.key)

    def statements(self) -> list[tuple[LiteralString, list[Any]]]:
        """What writes them, as few as there are kinds of rows, each with its parameters."""
        found: list[tuple[LiteralString, list[Any]]] = []
        if self._leases:
            found.append((statements.WRITE_LEASES, [Jsonb(self._leases)]))
        if self._buckets:
            found.append((statements.WRITE_BUCKETS, [Jsonb(self._buckets)]))
        if self._idle:
            found.append((statements.DELETE_IDLE, [*_listed(self._idle), self._holder]))
        if self._expired:
            found.append((statements.DELETE_EXPIRED, [*_listed(self._expired), self._now]))
        return found


def _about_circuits(words: Words, holder: str, now: float) -> list[tuple[LiteralString, list[Any]]]:
    """What writes the words of a process, each statement with its parameters; see `domain.limits.breaker.said_by`."""
    found: list[tuple[LiteralString, list[Any]]] = []
    if opened := dict(sorted(words.opened.items())):
        until, times = [now + each.seconds for each in opened.values()], [each.times for each in opened.values()]
        found.append((statements.FORGET_CIRCUITS, [now - FORGET_CIRCUITS_SECONDS]))
        found.append((statements.OPENED, [list(opened), until, times, holder]))
    if words.closed:
        found.append((statements.CLOSED, [sorted(words.closed), holder]))
    if words.probes:
        found.append((statements.PROBE, [holder, now + PROBE_SECONDS, sorted(words.probes), now, holder]))
    return found


async def _results(cursor: AsyncClientCursor[DictRow]) -> list[list[DictRow]]:
    """The rows of each statement of a message that has any to give."""
    found: list[list[DictRow]] = []
    while True:
        if cursor.description is not None:
            found.append(await cursor.fetchall())
        if not cursor.nextset():
            return found


def _listed(keys: Sequence[Key]) -> list[list[str]]:
    return [[key.scope for key in keys], [key.name for key in keys]]


def _key(row: Row) -> Key:
    return Key(row["scope"], row["name"])


async def open_connection(database_url: str) -> _Connection:
    """A connection for exchanges: whoever falls silent on it keeps no lock, and waits for none for long."""
    connection = cast(_Connection, await connect(database_url, autocommit=True))
    connection.row_factory = dict_row
    await connection.execute(
        f"SET idle_in_transaction_session_timeout = {SILENCE_SECONDS_MAX * 1000:.0f};"
        f" SET lock_timeout = {LOCK_SECONDS_MAX * 1000:.0f}"
    )
    return connection


async def _close(connection: AsyncConnection[Any]) -> None:
    with suppress(psycopg.Error, OSError):
        await connection.close()


async def _end(under_way: asyncio.Task[Exchanged], connection: _Connection | None) -> None:
    """psycopg takes its time to cancel what PostgreSQL does not answer."""
    await asyncio.wait({under_way})
    if connection is not None:
        await _close(connection)
