import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from agents import outbox as module
from agents.outbox import Outbox, Outgoing
from schemas import events
from schemas.events import LifecycleEvent
from tests.support.given import fact
from tests.support.memory_log import MemoryLog
from tests.support.memory_worker import until


@asynccontextmanager
async def outbox_of(log: MemoryLog, certain: Callable[[], bool] = lambda: True) -> AsyncIterator[Outbox]:
    outbox = Outbox(log, certain)
    outbox.thaw()
    running = asyncio.create_task(outbox.run())
    try:
        yield outbox
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def queued(number: int) -> LifecycleEvent:
    return fact(events.TaskQueued, number)  # type: ignore[return-value]  # no submission


def numbers(log: MemoryLog) -> list[int]:
    return [one.sequence for one in log.facts()]


async def rounds(count: int = 30) -> None:
    """Let everything that can happen now happen."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_facts_are_written_in_the_order_of_the_puts_and_their_thens_called() -> None:
    log, called = MemoryLog(), list[int]()

    def then(number: int) -> Callable[[], None]:
        return lambda: called.append(number)

    async with outbox_of(log) as outbox:
        for number in range(1, 7, 2):
            outbox.put(Outgoing([queued(number), queued(number + 1)], then(number)))
        await outbox.drained()
    assert numbers(log) == [1, 2, 3, 4, 5, 6]
    assert called == [1, 3, 5]
    assert len(outbox) == 0


async def test_what_comes_while_a_batch_is_in_flight_goes_with_the_next() -> None:
    log = MemoryLog()
    async with outbox_of(log) as outbox:
        log.withhold()
        outbox.put(Outgoing([queued(1)]))
        await rounds()
        for number in (2, 3, 4):
            outbox.put(Outgoing([queued(number)]))
        await rounds()
        assert log.withheld == 1
        log.release()
        log.withhold()
        await rounds()
        assert log.withheld == 3
        log.release()
        await outbox.drained()


async def test_after_a_large_batch_facts_gather_and_after_a_small_one_they_go_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CROWD_REST_SECONDS", 3600.0)
    log = MemoryLog()
    async with outbox_of(log) as outbox:
        for number in (1, 2):
            outbox.put(Outgoing([queued(number)]))
            await rounds()
            assert len(log.facts()) == number
        for number in range(3, 3 + module.CROWD_FACTS):
            outbox.put(Outgoing([queued(number)]))
        await rounds()
        crowd = len(log.facts())
        outbox.put(Outgoing([queued(99)]))
        await rounds()
        assert crowd == len(log.facts()) == 2 + module.CROWD_FACTS


async def test_nothing_is_done_before_the_log_has_it() -> None:
    log, called = MemoryLog(), list[int]()
    async with outbox_of(log) as outbox:
        log.withhold()
        outbox.put(Outgoing([queued(1)], lambda: called.append(1)))
        await rounds()
        assert not called
        log.release()
        await outbox.drained()
    assert called == [1]


async def test_a_frozen_outbox_sends_nothing_until_it_thaws() -> None:
    log = MemoryLog()
    async with outbox_of(log) as outbox:
        await outbox.freeze(1.0)
        outbox.put(Outgoing([queued(1)]))
        await rounds()
        assert not numbers(log)
        assert outbox.stalled_seconds() == 0.0
        outbox.thaw()
        await outbox.drained()
    assert numbers(log) == [1]


async def test_the_barrier_waits_for_what_is_in_flight() -> None:
    log = MemoryLog()
    async with outbox_of(log) as outbox:
        log.withhold()
        outbox.put(Outgoing([queued(1)]))
        await rounds()
        freezing = asyncio.create_task(outbox.freeze(10.0))
        await rounds()
        assert not freezing.done()
        log.release()
        await freezing
        assert numbers(log) == [1]


async def test_the_barrier_does_not_wait_for_ever() -> None:
    log = MemoryLog()
    async with outbox_of(log) as outbox:
        log.withhold()
        outbox.put(Outgoing([queued(1)]))
        await rounds()
        await outbox.freeze(0.01)
        log.release()
        await rounds()


async def test_what_is_no_longer_wanted_is_not_written() -> None:
    log, called = MemoryLog(), list[int]()
    wanted = True
    async with outbox_of(log) as outbox:
        await outbox.freeze(1.0)
        outbox.put(Outgoing([queued(1)], lambda: called.append(1), wanted=lambda: wanted))
        outbox.put(Outgoing([queued(2)], lambda: called.append(2)))
        wanted = False
        outbox.thaw()
        await outbox.drained()
    assert numbers(log) == [2]
    assert called == [2]


async def test_facts_wait_in_order_while_the_log_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    log = MemoryLog()
    log.refusals = 3
    async with outbox_of(log) as outbox:
        for number in (1, 2, 3):
            outbox.put(Outgoing([queued(number)]))
        await outbox.drained()
    assert numbers(log) == [1, 2, 3]


async def test_a_late_acknowledgement_does_not_multiply_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The producer itself goes on trying; appending again would write every fact once for each timeout."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    log = MemoryLog(timeout_seconds=0.01)
    async with outbox_of(log) as outbox:
        log.withhold()
        outbox.put(Outgoing([queued(1)]))
        await until(lambda: log.timeouts >= 3)
        log.release()
        await outbox.drained()
    assert numbers(log) == [1]


async def test_a_stall_is_counted_from_the_first_fact_that_waits() -> None:
    log = MemoryLog()
    async with outbox_of(log) as outbox:
        assert outbox.stalled_seconds() == 0.0
        log.withhold()
        outbox.put(Outgoing([queued(1)]))
        await until(lambda: outbox.stalled_seconds() > 0.0)
        outbox.excuse()
        log.release()
        await outbox.drained()
        assert outbox.stalled_seconds() == 0.0


async def test_a_worker_in_doubt_sends_nothing() -> None:
    log, certain = MemoryLog(), asyncio.Event()
    async with outbox_of(log, certain.is_set) as outbox:
        outbox.put(Outgoing([queued(1)]))
        await asyncio.sleep(3 * module.DOUBT_SECONDS)
        assert numbers(log) == []
        certain.set()
        await outbox.drained()
    assert numbers(log) == [1]


async def test_what_is_acknowledged_to_a_worker_in_doubt_has_no_consequence_until_it_is_certain() -> None:
    """It stood still between the append and its acknowledgement; meanwhile a rebalance does not wait for it."""
    log, certain, called = MemoryLog(), asyncio.Event(), asyncio.Event()
    certain.set()
    async with outbox_of(log, certain.is_set) as outbox:
        log.withhold()
        outbox.put(Outgoing([queued(1)], called.set))
        await rounds()
        certain.clear()
        log.release()
        await asyncio.sleep(3 * module.DOUBT_SECONDS)
        assert numbers(log) == [1]
        assert not called.is_set()
        await asyncio.wait_for(outbox.freeze(5.0), 1.0)
        certain.set()
        await asyncio.sleep(3 * module.DOUBT_SECONDS)
        assert not called.is_set(), "the shards may be another's"
        outbox.thaw()
        await asyncio.wait_for(called.wait(), 5.0)
