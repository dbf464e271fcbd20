"""Hearing of tasks that have ended, as the projector announces them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import psycopg

from projections import database

RECONNECT_SECONDS = 1.0


class Endings:
    """One connection that listens, from when it is asked to."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url

    async def tell(self, heard: Callable[[Iterable[str]], None]) -> None:
        """Call `heard` with the ids of tasks that have ended, until cancelled; outages are waited for.

        What ends during one, or together with very many others, is not told: who must not miss it looks for itself.
        """
        while True:
            try:
                async with await database.connect(self._database_url, autocommit=True) as connection:
                    await connection.execute(f"LISTEN {database.CHANNEL}")
                    async for notice in connection.notifies():
                        heard(notice.payload.split())
            except (psycopg.Error, OSError):
                await asyncio.sleep(RECONNECT_SECONDS)
