"""Where the read models live: one PostgreSQL schema, and how it is reached.

No statement names the schema: connections find it by their search_path. So a rebuild fills another schema with the
very same code, and a swap by renaming is seen by everybody's next statement.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from sqlalchemy import MetaData
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from streams.ports import ReadModelUnavailable

#: The schema that readers see.
SCHEMA = "penstock"
#: Told in the projector's transaction when tasks have ended; see `projections.writer.announce`.
CHANNEL = "penstock_tasks"
METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

CONNECT_TIMEOUT_SECONDS = 5
POOL_TIMEOUT_SECONDS = 5
#: Dead peers are noticed although nobody closes the connection.
KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}


def open_engine(database_url: str, *, schema: str = SCHEMA, pool_size: int = 5) -> AsyncEngine:
    """A pool of connections that find the read models; connects when first used."""
    return create_async_engine(
        sqlalchemy_url(database_url),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        # A PostgreSQL that was restarted must not cost one error per pooled connection.
        pool_pre_ping=True,
        connect_args={"options": options(schema), "connect_timeout": CONNECT_TIMEOUT_SECONDS, **KEEPALIVE},
    )


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection for queries of this package.

    Raises:
        ReadModelUnavailable: PostgreSQL cannot be reached or answer, or has no read models yet.
    """
    try:
        async with engine.connect() as connection:
            yield connection
    except (DBAPIError, DisconnectionError, PoolTimeout, psycopg.Error, OSError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        raise ReadModelUnavailable(f"the read models cannot be asked: {reason}") from error


def sqlalchemy_url(database_url: str) -> URL:
    """The same address with the driver that is installed; takes what libpq takes as a URI."""
    return make_url(database_url).set(drivername="postgresql+psycopg")


def libpq_url(database_url: str) -> str:
    """The same address without SQLAlchemy's name of a driver."""
    return make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)


def options(schema: str) -> str:
    """Start-up options of a connection: what it sees, and in which zone it speaks of time."""
    return f"-c search_path={schema} -c timezone=UTC"


async def connect(database_url: str, *, schema: str = SCHEMA, autocommit: bool = False) -> psycopg.AsyncConnection:
    """A bare connection for bulk work.

    Raises:
        psycopg.OperationalError: PostgreSQL cannot be reached.
    """
    return await psycopg.AsyncConnection.connect(
        libpq_url(database_url),
        autocommit=autocommit,
        options=options(schema),
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        keepalives_idle=KEEPALIVE["keepalives_idle"],
        keepalives_interval=KEEPALIVE["keepalives_interval"],
        keepalives_count=KEEPALIVE["keepalives_count"],
    )
