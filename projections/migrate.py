"""Bringing a schema of read models to the present version."""

from __future__ import annotations

import asyncio
from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from projections.database import CONNECT_TIMEOUT_SECONDS, SCHEMA, options, sqlalchemy_url
from projections.locks import Lock

MIGRATIONS = Path(__file__).parent / "migrations"


async def migrate(database_url: str, *, schema: str = SCHEMA) -> None:
    """Create the schema where it is missing and run the migrations that it lacks; idempotent, one at a time.

    Raises:
        sqlalchemy.exc.DBAPIError: PostgreSQL cannot be reached or refused.
    """
    # Alembic is synchronous; nobody else may be kept waiting meanwhile.
    await asyncio.to_thread(_migrate, database_url, schema)


def _migrate(database_url: str, schema: str) -> None:
    engine = sqlalchemy.create_engine(
        sqlalchemy_url(database_url),
        poolclass=sqlalchemy.NullPool,
        connect_args={"options": options(schema), "connect_timeout": CONNECT_TIMEOUT_SECONDS},
    )
    with engine.connect() as connection:
        # Held by the session rather than the transaction: a migration may need several.
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": int(Lock.MIGRATION)})
        connection.commit()
        try:
            _upgrade(connection, schema)
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": int(Lock.MIGRATION)})
            connection.commit()


def _upgrade(connection: Connection, schema: str) -> None:
    quoted = connection.dialect.identifier_preparer.quote(schema)
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {quoted}"))
    connection.commit()
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["schema"] = schema
    command.upgrade(config, "head")
    connection.commit()
