"""Look-ups of single keys, answered together: what is asked during one query is answered by the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Batched(Generic[T]):
    """Turns look-ups of one key into look-ups of many, one at a time; every answer is of a query begun afterwards."""

    def __init__(self, fetch: Callable[[Collection[str]], Awaitable[Mapping[str, T]]], keys_max: int) -> None:
        self._fetch = fetch
        self._keys_max = keys_max
        self._asked: dict[str, asyncio.Future[T | None]] = {}
        self._work: asyncio.Task[None] | None = None

    async def __call__(self, key: str) -> T | None:
        """What the key stands for; None for nothing.

        Raises whatever the query raises.
        """
        future = self._asked.get(key)
        if future is None:
            future = self._asked[key] = asyncio.get_running_loop().create_future()
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._answer())
        return await asyncio.shield(future)

    async def _answer(self) -> None:
        while self._asked:
            keys = list(self._asked)[: self._keys_max]
            futures = {key: self._asked.pop(key) for key in keys}
            try:
                found = await self._fetch(keys)
            except Exception as error:
                for future in futures.values():
                    future.set_exception(error)
                    future.exception()  # retrieved: a caller that went away leaves nobody to see it
            else:
                for key, future in futures.items():
                    future.set_result(found.get(key))
