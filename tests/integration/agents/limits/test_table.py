"""The table of leases in a real PostgreSQL: the very rule of the domain, by the database's clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from psycopg import AsyncClientCursor

from agents.limits import statements
from agents.limits.ports import TableUnavailable
from agents.limits.table import PostgresTable, open_connection
from domain.limits.breaker import PROBE_SECONDS, Opened, Told, Words
from domain.limits.exchange import Ask, RateAsk, Terms
from domain.limits.limit import Key, Limit
from projections.database import connect
from projections.migrate import migrate
from tests.support.gates import eventually

pytestmark = pytest.mark.external_service

PROVIDER = Key("provider", "kimi")
TENANT = Key("tenant", "acme")
#: Leases that end while a test waits, and are still renewed in time on a busy machine.
TERMS = Terms(lease_seconds=2.0, margin_seconds=0.5, renew_seconds=0.5, turn_seconds=0.2)


@pytest.fixture
async def table(database: str) -> AsyncIterator[PostgresTable]:
    await migrate(database)
    async with aclosing(_Closing(database)) as opened:
        yield opened


class _Closing(PostgresTable):
    def __init__(self, database_url: str) -> None:
        super().__init__(database_url, TERMS)

    async def aclose(self) -> None:
        await self.close()


def ask(key: Key = PROVIDER, *, limit: int = 3, held: int = 0, wanted: int = 0) -> Ask:
    return Ask(key=key, limit=Limit(concurrency=limit), held=held, wanted=wanted)


async def granted(table: PostgresTable, holder: str, serial: int, asked: Ask) -> int:
    (answer,) = (await table.exchange(holder, serial, [asked], {})).answers
    return answer.granted


async def test_permits_of_one_holder_are_not_there_for_another(table: PostgresTable) -> None:
    assert await granted(table, "a", 1, ask(wanted=2)) == 2
    assert await granted(table, "b", 1, ask(wanted=2)) == 1
    assert await granted(table, "a", 2, ask(held=0, wanted=0)) == 0
    assert await granted(table, "b", 2, ask(held=1, wanted=3)) == 3


async def test_answers_come_in_the_order_of_the_asks(table: PostgresTable) -> None:
    asks = [ask(TENANT, limit=1, wanted=1), ask(PROVIDER, limit=2, wanted=2)]
    found = await table.exchange("a", 1, asks, {})
    assert [(answer.key, answer.granted) for answer in found.answers] == [(TENANT, 1), (PROVIDER, 2)]


async def test_a_lease_that_is_not_renewed_ends_by_the_clock_of_the_database(table: PostgresTable) -> None:
    assert await granted(table, "a", 1, ask(wanted=3)) == 3
    assert await granted(table, "b", 1, ask(wanted=1)) == 0
    begun, serial = time.monotonic(), 2
    while await granted(table, "b", serial, ask(wanted=1)) == 0:
        assert time.monotonic() - begun < 20
        await asyncio.sleep(0.05)
        serial += 1
    assert time.monotonic() - begun > TERMS.lease_seconds - TERMS.margin_seconds
    assert await granted(table, "a", 2, ask(held=3, wanted=3)) == 2, "what ran out is granted anew, or not"


async def test_an_exchange_that_comes_late_is_not_heeded(table: PostgresTable) -> None:
    assert await granted(table, "a", 5, ask(wanted=3)) == 3
    with pytest.raises(TableUnavailable, match="later exchange"):
        await granted(table, "a", 4, ask(held=0, wanted=1))
    assert await granted(table, "b", 1, ask(wanted=1)) == 0
    assert await granted(table, "a", 6, ask(held=3, wanted=3)) == 3


async def test_a_bucket_is_shared_and_what_is_given_back_is_there_for_others(table: PostgresTable) -> None:
    def tokens(*, kept: float = 0.0, wanted: float = 0.0, credited: float = 0.0) -> Ask:
        rate = RateAsk(kept=kept, wanted=wanted, credited=credited)
        return Ask(key=PROVIDER, limit=Limit(tokens_per_minute=600), tokens=rate)

    async def held(holder: str, serial: int, asked: Ask) -> float:
        (answer,) = (await table.exchange(holder, serial, [asked], {})).answers
        return answer.tokens.held

    assert await held("a", 1, tokens(wanted=500)) == 500
    assert await held("b", 1, tokens(wanted=500)) == pytest.approx(100, abs=50)
    # 500 were reserved and 50 used: 450 are everybody's again, however often it is said.
    for serial in (2, 3):
        assert await held("a", serial, tokens(credited=450)) == 0
    assert await held("b", 2, tokens(kept=100, wanted=500)) == 500
    assert await held("a", 4, tokens(credited=450, wanted=500)) == pytest.approx(50, abs=50)


async def test_a_block_is_heard_by_all_and_never_shortened(table: PostgresTable, database: str) -> None:
    other = _Closing(database)
    async with aclosing(other):
        await table.exchange("a", 1, [], {"kimi": 30.0})
        await table.exchange("a", 2, [], {"kimi": 1.0, "openai": 0.001})
        blocked = (await other.exchange("b", 1, [], {})).blocked
    assert 25 < blocked["kimi"] <= 30
    assert blocked.get("openai", 0.0) <= 0.001


async def test_a_circuit_is_open_for_all_until_the_probe_of_one_of_them_gets_through(
    table: PostgresTable, database: str
) -> None:
    """The same as `domain.limits.breaker.said_by` does, which PostgreSQL's statements put in other words."""

    async def say(who: PostgresTable, holder: str, serial: int, **words: Any) -> Told | None:
        return (await who.exchange(holder, serial, [], {}, Words(**words))).circuits.get("kimi")

    probe: dict[str, Any] = {"probes": frozenset({"kimi"})}
    other = _Closing(database)
    async with aclosing(other):
        await say(table, "a", 1, opened={"kimi": Opened(0.4, 1), "openai": Opened(60.0, 3)})
        await say(other, "b", 1, opened={"kimi": Opened(0.1, 1)})
        told = await say(other, "b", 2, **probe)
        assert told is not None
        assert (told.times, told.mine) == (1, False)
        assert 0.0 < told.seconds <= 0.4, "it cannot be probed yet, and a shorter wish changes nothing"

        async def probes() -> bool:
            both = await asyncio.gather(say(table, "a", serials[0], **probe), say(other, "b", serials[0], **probe))
            serials[0] += 1
            granted.extend(holder for holder, told in zip("ab", both, strict=True) if told is not None and told.mine)
            return bool(granted)

        serials, granted = [3], list[str]()
        await eventually(probes)
        (prober,) = granted
        mine, its = (table, other) if prober == "a" else (other, table)
        loser = "b" if prober == "a" else "a"
        held = await say(its, loser, 100, **probe)
        assert held is not None
        assert (held.mine, 5.0 < held.seconds <= PROBE_SECONDS) == (False, True)
        assert await say(its, loser, 101, closed=frozenset({"kimi"})) is not None, "it is not the one who probed"
        failed = await say(mine, prober, 100, opened={"kimi": Opened(0.0, 2)})
        assert failed is not None
        assert (failed.times, failed.mine, failed.seconds <= 0.0) == (2, False, True)
        again = await say(mine, prober, 101, **probe)
        assert again is not None
        assert again.mine
        assert await say(mine, prober, 102, closed=frozenset({"kimi"})) is None
        assert await say(its, loser, 102) is None


async def test_holders_hear_of_hunger_of_what_comes_free_and_of_blocks(table: PostgresTable, database: str) -> None:
    other = _Closing(database)
    async with aclosing(other):
        await other.exchange("b", 1, [], {})
        await other.listen("b")  # the first one says that it listens now
        for serial, asks, blocked in (
            (1, [ask(wanted=4)], {}),
            (2, [ask(held=3, wanted=3)], {"kimi": 1.0}),
        ):
            heard = asyncio.create_task(other.listen("b"))
            await asyncio.sleep(0)
            await table.exchange("a", serial, asks, blocked)
            await asyncio.wait_for(heard, 10)
        assert await granted(other, "b", 2, ask(wanted=1)) == 0
        listening = asyncio.create_task(table.listen("a"))
        await asyncio.wait_for(listening, 10)
        heard = asyncio.create_task(other.listen("b"))
        await table.exchange("a", 3, [ask(held=2, wanted=2)], {})
        await asyncio.wait_for(heard, 10)


async def test_a_holder_that_froze_within_an_exchange_does_not_keep_the_lock(
    table: PostgresTable, database: str
) -> None:
    """PostgreSQL ends its transaction, so that others wait for a moment and not for ever."""
    assert await granted(table, "a", 1, ask(wanted=1)) == 1
    frozen = await open_connection(database)
    mine = [[PROVIDER.scope], [PROVIDER.name]]
    await AsyncClientCursor(frozen).execute(statements.BEGIN, [*mine, *mine, *mine])
    serial = 1

    async def heard() -> bool:
        nonlocal serial
        serial += 1
        try:
            return await granted(table, "a", serial, ask(held=1, wanted=2)) == 2
        except TableUnavailable:
            return False

    await eventually(heard)
    await frozen.close()


async def test_a_database_that_is_not_there_says_so() -> None:
    table = PostgresTable("postgresql://nobody@127.0.0.1:9/nothing", TERMS)
    with pytest.raises(TableUnavailable):
        await table.exchange("a", 1, [ask(wanted=1)], {})
    with pytest.raises(TableUnavailable):
        await table.listen("a")
    await table.close()


async def test_rebuilds_and_verifications_leave_leases_alone(table: PostgresTable, database: str) -> None:
    """A schema of read models that is built beside the live one, or dropped, does not touch them."""
    await granted(table, "a", 1, ask(wanted=2))
    await migrate(database, schema="penstock_rebuilt")
    async with await connect(database, autocommit=True) as connection:
        await connection.execute("DROP SCHEMA penstock_rebuilt CASCADE")
        rows = await connection.execute("SELECT holder, granted FROM coordination.leases")
        assert await rows.fetchall() == [("a", 2)]
