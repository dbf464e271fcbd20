"""Look-ups of single keys, answered together."""

import asyncio
from collections.abc import Collection, Mapping

import pytest

from api.batched import Batched


class Table:
    """Values by key, behind a gate; remembers what it was asked."""

    def __init__(self) -> None:
        self.values = {f"k{number}": number for number in range(100)}
        self.queries: list[list[str]] = []
        self.gate = asyncio.Event()
        self.broken = False

    async def fetch(self, keys: Collection[str]) -> Mapping[str, int]:
        """One query."""
        self.queries.append(list(keys))
        await self.gate.wait()
        if self.broken:
            raise LookupError
        return {key: self.values[key] for key in keys if key in self.values}


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_asked_during_a_query_is_answered_by_the_next() -> None:
    table = Table()
    ask = Batched(table.fetch, keys_max=4)
    first = asyncio.create_task(ask("k0"))
    await turns()
    others = [asyncio.create_task(ask(f"k{number % 6}")) for number in range(12)]
    await turns()
    assert table.queries == [["k0"]]
    table.gate.set()
    assert await first == 0
    assert await asyncio.gather(*others) == [number % 6 for number in range(12)]
    assert table.queries == [["k0"], ["k0", "k1", "k2", "k3"], ["k4", "k5"]]
    assert await ask("nobody") is None


async def test_a_value_is_never_older_than_the_question() -> None:
    table = Table()
    ask = Batched(table.fetch, keys_max=4)
    before = asyncio.create_task(ask("new"))
    await turns()
    table.values["new"] = 7
    after = asyncio.create_task(ask("new"))
    table.gate.set()
    await before
    assert await after == 7


async def test_an_error_reaches_its_callers_and_nobody_later() -> None:
    table = Table()
    table.gate.set()
    table.broken = True
    ask = Batched(table.fetch, keys_max=4)
    with pytest.raises(LookupError):
        await ask("k1")
    table.broken = False
    assert await ask("k1") == 1


async def test_a_caller_that_gives_up_takes_nobody_along() -> None:
    table = Table()
    ask = Batched(table.fetch, keys_max=4)
    leaver, stayer = asyncio.create_task(ask("k1")), asyncio.create_task(ask("k1"))
    await turns()
    leaver.cancel()
    await turns()
    table.gate.set()
    assert await stayer == 1
