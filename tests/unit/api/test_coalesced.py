"""One question at a time."""

import asyncio

import pytest

from api.coalesced import Coalesced


class Slow:
    """A question whose answer is the number of times it was asked."""

    def __init__(self) -> None:
        self.calls = 0
        self.gate = asyncio.Event()

    async def __call__(self) -> int:
        self.calls += 1
        mine = self.calls
        await self.gate.wait()
        if mine == 13:
            raise LookupError(mine)
        return mine


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_asks_during_a_call_shares_the_next_one() -> None:
    slow = Slow()
    ask = Coalesced(slow)
    first = asyncio.create_task(ask())
    await turns()
    others = [asyncio.create_task(ask()) for _ in range(50)]
    await turns()
    assert slow.calls == 1
    slow.gate.set()
    assert await first == 1
    assert set(await asyncio.gather(*others)) == {2}
    assert await ask() == 3


async def test_an_answer_is_never_older_than_its_question() -> None:
    """Waves of callers: each gets a call that began after it asked."""
    slow = Slow()
    ask = Coalesced(slow)
    waves = []
    for _ in range(4):
        began = slow.calls
        waves.append((began, asyncio.create_task(ask())))
        await turns()
        slow.gate.set()
        await turns()
        slow.gate.clear()
    slow.gate.set()
    for began, answer in waves:
        assert await answer > began


async def test_an_error_reaches_those_who_share_it_and_nobody_later() -> None:
    slow = Slow()
    slow.calls = 12
    slow.gate.set()
    ask = Coalesced(slow)
    with pytest.raises(LookupError):
        await ask()
    assert await ask() == 14


async def test_a_caller_that_gives_up_takes_nobody_along() -> None:
    slow = Slow()
    ask = Coalesced(slow)
    leaver, stayer = asyncio.create_task(ask()), asyncio.create_task(ask())
    await turns()
    leaver.cancel()
    await turns()
    slow.gate.set()
    assert await stayer == 2
