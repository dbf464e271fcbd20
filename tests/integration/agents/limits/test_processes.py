"""Three processes and one limit: what runs is counted from outside, while they are killed, frozen and started."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest

from projections.database import connect
from projections.migrate import migrate

pytestmark = [pytest.mark.external_service, pytest.mark.slow]

LIMIT = 3
LEASE_SECONDS = 3.0
#: Shorter than a lease, so that what a frozen process left under way is over when its permits go to others.
WORK_SECONDS = 0.15
DEADLINE_SECONDS = 90.0


class Outside:
    """The other side of the limit: serves work and counts."""

    def __init__(self) -> None:
        self.running = self.most = self.served = 0
        self.port = 0
        #: Calls by the process that made them.
        self.by_peer: Counter[int] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One attempt: it is over when the work is done, or when its process is gone."""
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await reader.readline()
            gone = asyncio.create_task(reader.read())
            await asyncio.wait({gone}, timeout=WORK_SECONDS)
            gone.cancel()
            self.served += 1
        finally:
            self.running -= 1
            writer.close()


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    """A server of this process."""
    counting = Outside()
    server = await asyncio.start_server(counting.serve, "127.0.0.1", 0)
    counting.port = server.sockets[0].getsockname()[1]
    yield counting
    server.close()


class Crew:
    """Processes that want the same limit."""

    def __init__(self, database_url: str, port: int) -> None:
        self._said = {"database_url": database_url, "port": port, "limit": LIMIT, "lease_seconds": LEASE_SECONDS}
        self._processes: list[asyncio.subprocess.Process] = []

    async def start(self) -> asyncio.subprocess.Process:
        """One more."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.gate_main", json.dumps(self._said)
        )
        self._processes.append(process)
        return process

    async def stop(self) -> None:
        """All of them, frozen ones too."""
        for process in self._processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


@pytest.fixture
async def crew(database: str, outside: Outside) -> AsyncIterator[Crew]:
    """Nobody, at first."""
    await migrate(database)
    members = Crew(database, outside.port)
    yield members
    await members.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it has not come true"
        await asyncio.sleep(0.02)


async def test_the_bound_holds_while_processes_are_killed_frozen_and_started(
    outside: Outside, crew: Crew, database: str
) -> None:
    first, second, _third = [await crew.start() for _ in range(3)]
    await until(lambda: outside.served >= 20 and outside.most == LIMIT)
    first.kill()
    # Its permits wait for the end of its lease; then the others have them all again.
    await until_all_used(outside)
    second.send_signal(signal.SIGSTOP)
    await until_served(outside, 20)
    await until_all_used(outside)
    await crew.start()
    second.send_signal(signal.SIGCONT)
    await until_served(outside, 40)
    assert outside.most == LIMIT
    async with await connect(database, autocommit=True) as connection:
        async with asyncio.timeout(DEADLINE_SECONDS):
            # A lease that has just ended counts for nobody until the next exchange.
            while (granted := await permits(connection)) != LIMIT:
                assert granted < LIMIT
                await asyncio.sleep(0.02)


async def permits(connection: psycopg.AsyncConnection) -> int:
    """What the leases that last hold together."""
    rows = await connection.execute(
        "SELECT sum(granted) FROM coordination.leases WHERE expires_at > extract(epoch FROM clock_timestamp())"
    )
    row = await rows.fetchone()
    return int(row[0] or 0) if row else 0


async def until_served(outside: Outside, more: int) -> None:
    """So many more attempts have ended."""
    served = outside.served
    await until(lambda: outside.served >= served + more)


async def until_all_used(outside: Outside) -> None:
    """As many run at a time as may."""
    await until(lambda: outside.running == LIMIT)


async def test_each_of_more_processes_than_permits_has_its_turn(outside: Outside, crew: Crew, database: str) -> None:
    """With three permits for four processes, none is left without."""
    for _ in range(4):
        await crew.start()
    seen: set[str] = set()
    deadline = time.monotonic() + DEADLINE_SECONDS
    async with await connect(database, autocommit=True) as connection:
        while len(seen) < 4:
            assert time.monotonic() < deadline, f"only {len(seen)} of 4 were ever granted a permit"
            rows = await connection.execute("SELECT holder FROM coordination.leases WHERE granted > 0")
            seen |= {holder for (holder,) in await rows.fetchall()}
            await asyncio.sleep(0.02)
    assert outside.most <= LIMIT


@pytest.mark.skipif(not hasattr(os, "fork"), reason="signals of POSIX")
async def test_without_the_table_limited_work_stops_before_its_lease_ends_and_starts_again(
    outside: Outside, crew: Crew, database: str
) -> None:
    await crew.start()
    await until(lambda: outside.served >= 10)
    async with await connect(database, autocommit=True) as connection:
        await connection.execute("ALTER SCHEMA coordination RENAME TO away")
        await until(lambda: outside.running == 0)
        await quiet(outside)
        rows = await connection.execute("SELECT count(*) FROM away.leases WHERE expires_at > 0")
        assert await rows.fetchone() == (1,)
        await connection.execute("ALTER SCHEMA away RENAME TO coordination")
    await until_served(outside, 10)
    assert outside.most <= LIMIT


async def quiet(outside: Outside) -> None:
    """Nothing has begun for a while, and it stays so."""
    await until(lambda: outside.running == 0)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        assert time.monotonic() < deadline, "limited work goes on for ever without its table"
        served = outside.served
        await asyncio.sleep(3 * WORK_SECONDS)
        if outside.served == served and outside.running == 0:
            return
