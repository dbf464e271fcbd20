"""What these tests share: migrated read models, and a resource class of the test's own on the real log."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from projections.database import connect, open_engine
from projections.migrate import migrate
from projections.rebuild import RebuildConfig
from projections.runner import ProjectorConfig
from streams.admin import ensure_topics
from streams.log import EventLog
from streams.topics import SHARED, of_class


@pytest.fixture
async def connection(database: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """A bare connection to migrated, empty read models."""
    await migrate(database)
    async with await connect(database, autocommit=True) as opened:
        yield opened


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    """A pool as readers use it."""
    opened = open_engine(database)
    yield opened
    await opened.dispose()


@pytest.fixture
async def resource_class(kafka: str) -> str:
    """A class whose topics nobody else writes; task-lifecycle is shared with other tests."""
    name = f"c{uuid.uuid4().hex[:10]}"
    await ensure_topics(kafka, (*SHARED, *of_class(name, 2)))
    return name


@pytest.fixture
async def log(kafka: str) -> AsyncIterator[EventLog]:
    """The real log, to append to."""
    async with EventLog(kafka) as opened:
        yield opened


@pytest.fixture
def config(kafka: str, database: str, resource_class: str) -> ProjectorConfig:
    """What a projector of the test's class needs."""
    return ProjectorConfig(bootstrap_servers=kafka, database_url=database, classes=(resource_class,))


@pytest.fixture
def maintenance(config: ProjectorConfig) -> RebuildConfig:
    """What a rebuild or verification of the same read models needs."""
    return RebuildConfig(
        bootstrap_servers=config.bootstrap_servers, database_url=config.database_url, classes=config.classes
    )
