"""Migrations: what they build is what the code declares."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from projections import schema
from projections.database import METADATA, connect, options, sqlalchemy_url
from projections.migrate import migrate, revisions

pytestmark = pytest.mark.external_service


async def test_the_migrated_schema_equals_the_declared_tables(database: str) -> None:
    await migrate(database)
    assert {table.name for table in schema.TABLES} == set(METADATA.tables)
    differences = await asyncio.to_thread(_differences, database)
    assert differences == []


def _differences(database: str) -> list[object]:
    engine = sqlalchemy.create_engine(
        sqlalchemy_url(database), poolclass=sqlalchemy.NullPool, connect_args={"options": options("penstock")}
    )
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "include_name": lambda name, *_: name != "alembic_version"}
        )
        return list(compare_metadata(context, METADATA))


async def test_indexes_cover_the_same_rows_as_declared(database: str) -> None:
    """Autogenerate does not compare the conditions of partial indexes."""
    await migrate(database)
    async with await connect(database) as connection:
        rows = await connection.execute(
            "SELECT c.relname, pg_get_expr(i.indpred, i.indrelid) FROM pg_index AS i"
            " JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE n.nspname = 'penstock' AND i.indpred IS NOT NULL"
        )
        found = {name: condition.replace("::text", "").strip("()") for name, condition in await rows.fetchall()}
    declared = {
        str(index.name): str(index.dialect_options["postgresql"]["where"])
        for table in schema.TABLES
        for index in table.indexes
        if index.dialect_options["postgresql"]["where"] is not None
    }
    assert {name: text.replace("(", "").replace(")", "") for name, text in found.items()} == declared


async def test_migrating_is_idempotent_and_may_be_done_by_several_at_once(database: str) -> None:
    await asyncio.gather(*(migrate(database) for _ in range(4)))
    await migrate(database)
    async with await connect(database) as connection:
        rows = await (await connection.execute("SELECT version_num FROM alembic_version")).fetchall()
    assert rows == [((await revisions(database)).head,)]


async def test_schemas_are_independent(database: str) -> None:
    await migrate(database)
    await migrate(database, schema="other")
    async with await connect(database, schema="other") as connection:
        await connection.execute("INSERT INTO queue_depth VALUES ('cpu', 1, 'queued', 1)")
        await connection.commit()
    async with await connect(database) as connection:
        assert await (await connection.execute("SELECT * FROM queue_depth")).fetchall() == []


async def test_a_schema_tells_which_migration_it_stands_at(database: str) -> None:
    before = await revisions(database)
    assert before.applied is None
    await migrate(database)
    after = await revisions(database)
    assert after.applied == after.head == before.head
    assert after.head in after.known
    assert (await revisions(database, schema="other")).applied is None
