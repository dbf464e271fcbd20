"""Who may do what at the same time: PostgreSQL advisory locks, which end with the session that holds them."""

from __future__ import annotations

from enum import IntEnum

from psycopg import AsyncConnection


class Lock(IntEnum):
    """Keys of advisory locks; they count in one database. The numbers mean nothing, and must never change."""

    #: Held by the one projector that works; others stand by.
    PROJECTOR = 7_036_874_417_001
    #: Shared by a transaction that writes read models; exclusive while schemas change places.
    WRITE = 7_036_874_417_002
    #: Held while migrations run.
    MIGRATION = 7_036_874_417_003
    #: Held by a rebuild or a verification.
    MAINTENANCE = 7_036_874_417_004


async def acquire(connection: AsyncConnection, lock: Lock) -> None:
    """Wait for a lock, and keep it until released or until the session ends."""
    await connection.execute("SELECT pg_advisory_lock(%s)", [int(lock)])


async def try_acquire(connection: AsyncConnection, lock: Lock) -> bool:
    """Take a lock if nobody has it."""
    row = await (await connection.execute("SELECT pg_try_advisory_lock(%s)", [int(lock)])).fetchone()
    return row is not None and bool(row[0])


async def release(connection: AsyncConnection, lock: Lock) -> None:
    """Give a lock back."""
    await connection.execute("SELECT pg_advisory_unlock(%s)", [int(lock)])


async def share_until_commit(connection: AsyncConnection, lock: Lock) -> None:
    """Wait until nobody holds a lock alone, and share it until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", [int(lock)])
