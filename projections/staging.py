"""Bulk upserts: rows go by COPY into a temporary table, and from there into the real one by one statement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection, sql
from sqlalchemy import Table

#: Emptying a temporary table's file costs about as much as upserting a hundred rows, so it is not done each time.
DEAD_ROWS_MAX = 2000


class Staging:
    """The temporary tables of one connection."""

    def __init__(self, connection: AsyncConnection, tables: Iterable[Table]) -> None:
        self._connection = connection
        self._dead_rows = {table.name: 0 for table in tables}

    async def prepare(self) -> None:
        """Create the temporary tables anew."""
        for name in self._dead_rows:
            staged, real = sql.Identifier(_staged(name)), sql.Identifier(name)
            await self._connection.execute(sql.SQL("DROP TABLE IF EXISTS pg_temp.{}").format(staged))
            await self._connection.execute(
                sql.SQL("CREATE TEMPORARY TABLE {} AS SELECT * FROM {} WITH NO DATA").format(staged, real)
            )

    async def merge(self, table: Table, rows: Iterable[Sequence[Any]], *statements: sql.SQL | sql.Composed) -> None:
        """Copy the rows, all columns in order, and run the statements that read them from `staged_<table>`.

        To be called in a transaction: what it is rolled back to has no staged rows.
        """
        staged = sql.Identifier(_staged(table.name))
        count = 0
        async with self._connection.cursor() as cursor:
            async with cursor.copy(sql.SQL("COPY {} FROM STDIN").format(staged)) as copy:
                for row in rows:
                    await copy.write_row(row)
                    count += 1
            for statement in statements:
                await cursor.execute(statement)
            dead_rows = self._dead_rows[table.name] + count
            emptied = dead_rows > DEAD_ROWS_MAX
            await cursor.execute(sql.SQL("TRUNCATE {}" if emptied else "DELETE FROM {}").format(staged))
        self._dead_rows[table.name] = 0 if emptied else dead_rows


def upsert(table: Table, values: Mapping[str, str] | None = None, *, where: str = "", when: str = "") -> sql.Composed:
    """Insert the staged rows that `where` selects; where the key exists, update the row if `when` holds.

    A column of an existing row, known as `old`, gets the staged value, or what `values` says.
    """
    expressions = values or {}
    names = [f'"{column.name}"' for column in table.columns]
    keys = [f'"{column.name}"' for column in table.primary_key.columns]
    updates = [
        f'"{column.name}" = ' + expressions.get(column.name, f'excluded."{column.name}"')
        for column in table.columns
        if not column.primary_key
    ]
    parts = [
        f"INSERT INTO {table.name} AS old ({', '.join(names)})",
        f"SELECT {', '.join(names)} FROM {_staged(table.name)}",  # noqa: S608 - names from this package, never data
        f"WHERE {where}" if where else "",
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {', '.join(updates)}",
        f"WHERE {when}" if when else "",
    ]
    return sql.SQL(" ").join(sql.SQL(part) for part in parts if part)


def _staged(name: str) -> str:
    return f"staged_{name}"
