"""Work that an outage of the log ends begins again; nothing else makes it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiokafka.errors import KafkaConnectionError

from streams import outages
from streams.outages import through_outages

GRACE_SECONDS = 0.01


class Works:
    """Counts how often it is begun; each time something else becomes of it."""

    def __init__(self, *ends: Callable[[], Awaitable[None]]) -> None:
        self._ends = list(ends)
        self.begun = 0

    async def __call__(self) -> None:
        self.begun += 1
        await self._ends.pop(0)()


async def cut_off() -> None:
    raise KafkaConnectionError("no broker")


async def partly_cut_off() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(cut_off())


async def wrong() -> None:
    raise ValueError("no outage")


async def done() -> None:
    pass


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "RETRY_DELAY_SECONDS", 0.001)


async def test_what_an_outage_ends_begins_again_until_it_is_done() -> None:
    work = Works(cut_off, partly_cut_off, done)
    await through_outages(work, asyncio.Event(), GRACE_SECONDS)
    assert work.begun == 3


async def test_any_other_end_is_one() -> None:
    work = Works(cut_off, wrong)
    with pytest.raises(ValueError, match="no outage"):
        await through_outages(work, asyncio.Event(), GRACE_SECONDS)
    assert work.begun == 2


async def test_the_word_to_stop_is_heard_by_work_that_hears_nothing() -> None:
    stop = asyncio.Event()

    async def for_ever() -> None:
        stop.set()
        await asyncio.Event().wait()

    work = Works(for_ever)
    await asyncio.wait_for(through_outages(work, stop, GRACE_SECONDS), 5)
    assert work.begun == 1


async def test_nothing_is_begun_after_the_word_to_stop() -> None:
    stop = asyncio.Event()
    stop.set()
    work = Works()
    await through_outages(work, stop, GRACE_SECONDS)
    assert work.begun == 0
