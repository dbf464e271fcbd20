"""Bringing a schema of read models to the present version, and telling how far it is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
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


@dataclass(frozen=True, slots=True)
class Revisions:
    """Which migration a schema stands at, and which ones this code has."""

    #: None where nothing was ever migrated.
    applied: str | None
    head: str
    known: frozenset[str]


async def revisions(database_url: str, *, schema: str = SCHEMA) -> Revisions:
    """Compare a schema with the migrations; changes nothing.

    Raises:
        sqlalchemy.exc.DBAPIError: PostgreSQL cannot be reached or refused.
    """
    return await asyncio.to_thread(_revisions, database_url, schema)


def _revisions(database_url: str, schema: str) -> Revisions:
    scripts = ScriptDirectory.from_config(_config())
    head = scripts.get_current_head()
    assert head is not None, "there is a first migration"
    with _engine(database_url, schema).connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table_schema": schema})
        applied = context.get_current_revision()
    return Revisions(applied, head, frozenset(each.revision for each in scripts.walk_revisions()))


def _engine(database_url: str, schema: str) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(
        sqlalchemy_url(database_url),
        poolclass=sqlalchemy.NullPool,
        connect_args={"options": options(schema), "connect_timeout": CONNECT_TIMEOUT_SECONDS},
    )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _migrate(database_url: str, schema: str) -> None:
    with _engine(database_url, schema).connect() as connection:
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
    config = _config()
    config.attributes["connection"] = connection
    config.attributes["schema"] = schema
    command.upgrade(config, "head")
    connection.commit()
