"""Opening what the API stands on, and closing it in reverse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

from api.ports import ApiDeps, ApiSettings
from api.read_model import PostgresNotifications, SqlReadModel
from domain.catalogue import Catalogue
from domain.configuration import Configuration
from projections.database import open_engine
from streams.cluster import Cluster
from streams.log import EventLog
from streams.registry import RegistryTail


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiConfig:
    """What the composition root decides."""

    bootstrap_servers: str
    database_url: str
    settings: ApiSettings
    catalogue: Catalogue
    #: What holds until it is changed.
    first: Configuration = field(default_factory=Configuration)
    #: Connections to PostgreSQL that this process keeps; as many again in a rush.
    pool_size: int = 10


@asynccontextmanager
async def open_api(config: ApiConfig) -> AsyncIterator[ApiDeps]:
    """What `create_app` needs, open; PostgreSQL may come later.

    Raises:
        KafkaError: Kafka cannot be reached.
    """
    async with AsyncExitStack() as stack:
        engine = open_engine(config.database_url, pool_size=config.pool_size)
        stack.push_async_callback(engine.dispose)
        log = await stack.enter_async_context(EventLog(config.bootstrap_servers, client_id="penstock-api"))
        broker = await stack.enter_async_context(Cluster(config.bootstrap_servers))
        registry = RegistryTail(config.bootstrap_servers, first=config.first)
        defaults = config.settings.defaults.following(lambda: registry.configuration.models)
        yield ApiDeps(
            settings=replace(config.settings, defaults=defaults),
            catalogue=config.catalogue,
            log=log,
            broker=broker,
            read_model=SqlReadModel(engine),
            registry=registry,
            notifications=PostgresNotifications(config.database_url),
        )
