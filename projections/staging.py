"""How the rows of a batch reach the statement that writes them, under the names `staged_<table>`.

Many go by COPY into temporary tables, which costs least for each row. A few go as JSON within the statement itself,
which costs least for each batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection, sql
from pydantic_core import to_json
from sqlalchemy import Table


async def prepare(connection: AsyncConnection, tables: Iterable[Table]) -> None:
    """Create the connection's temporary tables anew; they are empty at the begin of each transaction."""
    for table in tables:
        staged, real = sql.Identifier(staged_name(table)), sql.Identifier(table.name)
        await connection.execute(sql.SQL("DROP TABLE IF EXISTS pg_temp.{}").format(staged))
        await connection.execute(
            sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DELETE ROWS AS SELECT * FROM {} WITH NO DATA").format(
                staged, real
            )
        )


async def copy(connection: AsyncConnection, table: Table, rows: Iterable[Sequence[Any]]) -> None:
    """Bring rows, all columns in order, into the table's temporary one."""
    statement = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(staged_name(table)))
    async with connection.cursor() as cursor, cursor.copy(statement) as copying:
        for row in rows:
            await copying.write_row(row)


def as_json(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as PostgreSQL's `json_to_recordset` and `json_populate_recordset` take them."""
    # SQLAlchemy's names are texts of a kind of their own, which cost many times as much.
    plain = [str(name) for name in names]
    return to_json([dict(zip(plain, map(_value, row), strict=True)) for row in rows]).decode()


def staged_name(table: Table) -> str:
    """What a statement calls the rows that are to be written to a table."""
    return f"staged_{table.name}"


def from_json(table: Table) -> str:
    """A common table expression that stands for the table's temporary one; takes `as_json` of its rows."""
    rows = f"json_populate_recordset(null::{table.name}, %({table.name})s)"
    return f"{staged_name(table)} AS (SELECT * FROM {rows})"  # noqa: S608 - names from this package, never data


def upsert(table: Table, values: Mapping[str, str] | None = None, *, where: str = "", when: str = "") -> str:
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
        f"SELECT {', '.join(names)} FROM {staged_name(table)}",  # noqa: S608 - names from this package, never data
        f"WHERE {where}" if where else "",
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {', '.join(updates)}",
        f"WHERE {when}" if when else "",
    ]
    return " ".join(filter(None, parts))


def _value(value: Any) -> Any:
    return f"\\x{value.hex()}" if isinstance(value, bytes) else value
