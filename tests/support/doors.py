"""The API, intake and a projector on real services, in the test's own event loop: everything but agents."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx
import psycopg
from aiokafka import ConsumerRecord

from api.app import create_app
from api.ports import ApiSettings
from api.wiring import ApiConfig, open_api
from domain.catalogue import Catalogue, TaskType
from projections.database import open_engine
from projections.endings import Endings
from projections.intake_model import IntakeTasks
from projections.migrate import migrate
from projections.runner import ProjectorConfig, run_projector
from streams import history
from streams.admin import ensure_topics
from streams.intake import IntakeConfig
from streams.intake_process import run_intake
from streams.topics import all_topics
from tests.support.callers import calling
from tests.support.memory_world import EchoPayload, OtherPayload

#: Classes of their own, so that these tests and others do not disagree on partitions.
CLASSES = ("doorcpu", "doorio")
CATALOGUE = Catalogue([TaskType("echo", "doorcpu", EchoPayload), TaskType("fetch", "doorio", OtherPayload)])
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Doors:
    """What a test drives."""

    kafka: str
    database: str
    max_queue_size: int = 10_000

    async def prepare(self) -> None:
        """Topics and tables."""
        await ensure_topics(self.kafka, all_topics(dict.fromkeys(CLASSES, 2)))
        await migrate(self.database)

    @asynccontextmanager
    async def api(self) -> AsyncIterator[httpx.AsyncClient]:
        """One API process, so to speak."""
        settings = ApiSettings(version="0", classes=CLASSES, max_queue_size=self.max_queue_size)
        config = ApiConfig(
            bootstrap_servers=self.kafka, database_url=self.database, settings=settings, catalogue=CATALOGUE
        )
        async with open_api(config) as deps, calling(create_app(deps)) as client:
            yield client

    @asynccontextmanager
    async def projector(self) -> AsyncIterator[None]:
        """A projector at work."""
        config = ProjectorConfig(bootstrap_servers=self.kafka, database_url=self.database, classes=CLASSES)
        async with _role(lambda stop: run_projector(config, stop)):
            yield

    @asynccontextmanager
    async def intake(self) -> AsyncIterator[None]:
        """Intake and held work."""
        engine = open_engine(self.database)
        config = IntakeConfig(
            bootstrap_servers=self.kafka,
            catalogue=CATALOGUE,
            tasks=IntakeTasks(engine),
            classes=CLASSES,
            max_queue_size=self.max_queue_size,
            endings=Endings(self.database).tell,
        )
        async with AsyncExitStack() as stack:
            stack.push_async_callback(engine.dispose)
            await stack.enter_async_context(_role(lambda stop: run_intake(config, stop)))
            yield

    def refuse_connections(self, refused: bool) -> None:
        """As if PostgreSQL were down, or up again, for whoever uses this database."""
        name = psycopg.conninfo.conninfo_to_dict(self.database)["dbname"]
        assert isinstance(name, str), "the fixture names a database"
        server = self.database.replace(f"/{name}", "/postgres")
        with psycopg.connect(server, autocommit=True) as connection:
            identifier = psycopg.sql.Identifier(name)
            allowed = psycopg.sql.Literal(not refused)
            connection.execute(psycopg.sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(identifier, allowed))
            if refused:
                connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])


@asynccontextmanager
async def _role(run: Callable[[asyncio.Event], Awaitable[None]]) -> AsyncIterator[None]:
    stop = asyncio.Event()
    role = asyncio.ensure_future(run(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(role, PATIENCE_SECONDS)


async def records(kafka: str, topic: str, wanted: Callable[[ConsumerRecord], bool]) -> list[ConsumerRecord]:
    """Those of a topic's records, as it is now, that are wanted."""
    async with history.reader(kafka, [topic]) as consumer:
        await consumer.seek_to_beginning()
        return [record async for batch in history.read_to_end(consumer) for record in batch if wanted(record)]


async def eventually(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until something is so.

    Raises:
        AssertionError: it did not become so in good time.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not await condition():
        assert time.monotonic() < deadline, f"gave up waiting for {what}"
        await asyncio.sleep(0.05)
