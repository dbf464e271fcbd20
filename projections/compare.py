"""Comparing a table of two schemas: by one hash over all rows, and row by row only where that differs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection, sql
from psycopg.rows import dict_row
from sqlalchemy import Column, Table, Text

#: Differing rows of a table that are shown in full; the others are counted.
ROWS_SHOWN_MAX = 20
VALUE_CHARACTERS_MAX = 120
FETCH_ROWS = 5000

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not what the log says; `column` is None where the whole row is missing on one side."""

    key: Key
    column: str | None
    live: str
    rebuilt: str


@dataclass(frozen=True, slots=True)
class TableReport:
    """One table compared."""

    table: str
    rows_live: int
    rows_rebuilt: int
    rows_differing: int
    #: Of the first differing rows, by key.
    differences: tuple[Difference, ...]

    @property
    def differs(self) -> bool:
        """The live table is not what the log says."""
        return bool(self.rows_differing)

    def lines(self) -> Iterable[str]:
        """A line for the table, and one for each difference shown."""
        if not self.differs:
            yield f"{self.table}: {self.rows_live} rows, equal"
            return
        yield f"{self.table}: {self.rows_differing} rows differ ({self.rows_live} live, {self.rows_rebuilt} by the log)"
        for found in self.differences:
            where = ", ".join(map(str, found.key))
            yield f"  {where}: {found.column or 'row'} is {found.live}, by the log {found.rebuilt}"


async def compare(table: Table, live: AsyncConnection, rebuilt: AsyncConnection) -> TableReport:
    """Compare the table that two connections see under one name."""
    (live_rows, live_hash), (rebuilt_rows, rebuilt_hash) = await _digest(table, live), await _digest(table, rebuilt)
    if (live_rows, live_hash) == (rebuilt_rows, rebuilt_hash):
        return TableReport(table.name, live_rows, rebuilt_rows, 0, ())
    shown: list[Difference] = []
    differing = 0
    async for key in _differing_keys(table, live, rebuilt):
        differing += 1
        if differing <= ROWS_SHOWN_MAX:
            shown += _row_differences(key, await _row(table, live, key), await _row(table, rebuilt, key))
    return TableReport(table.name, live_rows, rebuilt_rows, differing, tuple(shown))


async def _digest(table: Table, connection: AsyncConnection) -> tuple[int, Any]:
    """Number of rows, and a hash that does not depend on their order."""
    query = sql.SQL("SELECT count(*), coalesce(sum({}::numeric), 0) FROM {}")
    row = await (await connection.execute(query.format(_hash(table), sql.Identifier(table.name)))).fetchone()
    assert row is not None, "an aggregate has one row"
    return row[0], row[1]


async def _differing_keys(table: Table, live: AsyncConnection, rebuilt: AsyncConnection) -> AsyncIterator[Key]:
    """Keys of rows that one side lacks or has otherwise, in order: a merge of both sides."""
    async with live.transaction(), rebuilt.transaction():
        left, right = _hashes(table, live), _hashes(table, rebuilt)
        mine, other = await anext(left, None), await anext(right, None)
        while mine is not None or other is not None:
            if other is None or (mine is not None and mine[0] < other[0]):
                assert mine is not None, "the loop's condition"
                yield mine[0]
                mine = await anext(left, None)
            elif mine is None or other[0] < mine[0]:
                yield other[0]
                other = await anext(right, None)
            else:
                if mine[1] != other[1]:
                    yield mine[0]
                mine, other = await anext(left, None), await anext(right, None)


async def _hashes(table: Table, connection: AsyncConnection) -> AsyncIterator[tuple[Key, int]]:
    keys = list(table.primary_key.columns)
    query = sql.SQL("SELECT {}, {} FROM {} ORDER BY {}").format(
        sql.SQL(", ").join(sql.Identifier(column.name) for column in keys),
        _hash(table),
        sql.Identifier(table.name),
        sql.SQL(", ").join(map(_ordered, keys)),
    )
    async with connection.cursor(name=f"compare_{table.name}") as cursor:
        cursor.itersize = FETCH_ROWS
        await cursor.execute(query)
        async for *key, digest in cursor:
            yield tuple(key), digest


async def _row(table: Table, connection: AsyncConnection, key: Key) -> dict[str, Any] | None:
    conditions = [sql.SQL("{} = %s").format(sql.Identifier(column.name)) for column in table.primary_key.columns]
    query = sql.SQL("SELECT {} FROM {} WHERE {}").format(
        _columns(table), sql.Identifier(table.name), sql.SQL(" AND ").join(conditions)
    )
    async with connection.cursor(row_factory=dict_row) as cursor:
        return await (await cursor.execute(query, key)).fetchone()


def _row_differences(key: Key, live: dict[str, Any] | None, rebuilt: dict[str, Any] | None) -> list[Difference]:
    if live is None or rebuilt is None:
        return [Difference(key, None, *("missing" if row is None else "there" for row in (live, rebuilt)))]
    return [
        Difference(key, column, _shown(live[column]), _shown(rebuilt[column]))
        for column in live
        if live[column] != rebuilt[column]
    ]


def _shown(value: Any) -> str:
    text = str(value) if hasattr(value, "isoformat") else repr(value)
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[:VALUE_CHARACTERS_MAX]}..."


def _hash(table: Table) -> sql.Composed:
    # Columns by name: two schemas may have been migrated along different ways.
    return sql.SQL("hashtextextended(ROW({})::text, 0)").format(_columns(table))


def _columns(table: Table) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)


def _ordered(column: Column[Any]) -> sql.Composed:
    # By code point, as Python compares, whatever the database's collation.
    collation = ' COLLATE "C"' if isinstance(column.type, Text) else ""
    return sql.SQL("{}" + collation).format(sql.Identifier(column.name))
