"""Building the read models anew from the log, beside the live ones, to take their place or to check them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer
from psycopg import AsyncConnection, IsolationLevel, sql

from domain.errors import PenstockError
from projections.compare import TableReport, compare
from projections.database import SCHEMA, connect
from projections.locks import Lock, acquire, release, try_acquire
from projections.migrate import migrate
from projections.projector import Projector
from projections.recorded import Offsets, project_up_to, recorded
from projections.schema import DETERMINED, TABLES
from streams.topics import recorded_topics

#: How long the projector is made to wait, at most, while the schemas change places.
SWAP_TIMEOUT_SECONDS = 60.0
#: Hears how many records are folded so far.
Told = Callable[[int], None]


class MaintenanceRunning(PenstockError):
    """Another rebuild or verification of these read models is under way; wait until it has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildConfig:
    """What the composition root decides."""

    bootstrap_servers: str
    database_url: str
    #: Resource classes whose topics are folded, besides those that the live read models know.
    classes: tuple[str, ...]
    schema: str = SCHEMA


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did."""

    records: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether the live read models are what the log says, and where they are not."""

    records: int
    seconds: float
    tables: tuple[TableReport, ...]

    @property
    def matches(self) -> bool:
        """No table differs."""
        return not any(table.differs for table in self.tables)

    def lines(self) -> Iterable[str]:
        """A report for people: a line a table, and the differences below it."""
        for table in self.tables:
            yield from table.lines()


async def rebuild(config: RebuildConfig, told: Told = lambda _: None) -> Rebuilt:
    """Build a fresh schema from the log and put it in the place of the live one; readers notice nothing.

    A running projector waits while they change places, and goes on with the new one.

    Raises:
        MaintenanceRunning: another rebuild or verification is under way.
        KafkaError, psycopg.Error, TimeoutError: an outage; the live read models are as they were.
    """
    fresh = f"{config.schema}_rebuilt"
    counter = _Counter(told)
    async with _maintenance(config) as live, _scratch(config, fresh) as connection:
        names = recorded_topics(config.classes) + tuple(topic for topic, _ in await _live_offsets(live))
        projector = await Projector.open(connection, lock=None)
        async with recorded(config.bootstrap_servers, dict.fromkeys(names), {}) as consumer:
            await project_up_to(projector, consumer, await _ends(consumer), counter)
            for table in TABLES:
                # Readers' plans must not wait for autovacuum to learn that the tables are no longer empty.
                await connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table.name)))
            await acquire(live, Lock.WRITE)
            try:
                async with asyncio.timeout(SWAP_TIMEOUT_SECONDS):
                    # Nobody may see the read models go back in time.
                    await project_up_to(projector, consumer, await _live_offsets(live), counter)
                await _exchange(live, config.schema, fresh)
            finally:
                await release(live, Lock.WRITE)
    return Rebuilt(counter.records, counter.seconds)


async def verify(config: RebuildConfig, told: Told = lambda _: None) -> Verification:
    """Fold the log up to where the live read models stand, and compare them, table by table. Changes nothing.

    The live ones may go on meanwhile: they are compared as they were at the beginning.

    Raises:
        MaintenanceRunning: another rebuild or verification is under way.
        KafkaError, psycopg.Error, TimeoutError: an outage.
    """
    counter = _Counter(told)
    async with (
        _maintenance(config),
        await connect(config.database_url, schema=config.schema) as live,
        _scratch(config, f"{config.schema}_verified") as connection,
    ):
        # From here to the end, this connection sees the tables as they are now.
        await live.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        targets = await _live_offsets(live)
        projector = await Projector.open(connection, lock=None)
        names = recorded_topics(config.classes) + tuple(topic for topic, _ in targets)
        async with recorded(config.bootstrap_servers, dict.fromkeys(names), {}) as consumer:
            await project_up_to(projector, consumer, targets, counter)
        tables = [await compare(table, live, connection) for table in DETERMINED]
    return Verification(counter.records, counter.seconds, tuple(tables))


class _Counter:
    """Adds up batches, and passes the sum on."""

    def __init__(self, told: Told) -> None:
        self._told, self._started_at, self.records = told, time.monotonic(), 0

    def __call__(self, records: int) -> None:
        self.records += records
        self._told(self.records)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started_at


@asynccontextmanager
async def _maintenance(config: RebuildConfig) -> AsyncIterator[AsyncConnection]:
    """A session of the only rebuild or verification there is."""
    await migrate(config.database_url, schema=config.schema)
    async with await connect(config.database_url, schema=config.schema, autocommit=True) as connection:
        if not await try_acquire(connection, Lock.MAINTENANCE):
            raise MaintenanceRunning("another rebuild or verification of the read models is under way")
        yield connection


@asynccontextmanager
async def _scratch(config: RebuildConfig, schema: str) -> AsyncIterator[AsyncConnection]:
    """A session that sees an empty schema of its own, dropped at the end unless it has found another name."""
    await _drop(config, schema, f"{config.schema}_replaced")
    await migrate(config.database_url, schema=schema)
    try:
        async with await connect(config.database_url, schema=schema, autocommit=True) as connection:
            yield connection
    finally:
        await _drop(config, schema, f"{config.schema}_replaced")


async def _drop(config: RebuildConfig, *schemas: str) -> None:
    async with await connect(config.database_url, autocommit=True) as connection:
        for schema in schemas:
            await connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


async def _exchange(connection: AsyncConnection, live: str, fresh: str) -> None:
    """One transaction: every statement of a reader finds either the old tables or the new ones."""
    async with connection.transaction():
        for old, new in ((live, f"{live}_replaced"), (fresh, live)):
            names = (sql.Identifier(old), sql.Identifier(new))
            await connection.execute(sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(*names))


async def _live_offsets(connection: AsyncConnection) -> Offsets:
    rows = await connection.execute("SELECT topic, partition, next_offset FROM projection_offsets")
    return {(topic, partition): offset for topic, partition, offset in await rows.fetchall()}


async def _ends(consumer: AIOKafkaConsumer) -> Offsets:
    ends = await consumer.end_offsets(list(consumer.assignment()))
    return {(key.topic, key.partition): end for key, end in ends.items()}
