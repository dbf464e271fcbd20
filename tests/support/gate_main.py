"""A process that does limited work, so that it can be killed and frozen: it holds a connection while an attempt runs.

python -m tests.support.gate_main '{"database_url": ..., "port": ..., "limit": 3, "lease_seconds": 3.0}'
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from agents.limits.gates import Gates
from agents.limits.table import PostgresTable
from domain.limits.exchange import Terms
from domain.limits.limit import Limit
from domain.limits.tickets import Ticket
from tests.support.gates import LimitsOnly, lane

LANE = lane("acme", provider="kimi")
SLOTS = 4


class Worker:
    """Always has work; stops what has lapsed, as a dispatcher does."""

    def __init__(self, said: dict[str, Any]) -> None:
        self._said = said
        terms = Terms(lease_seconds=said["lease_seconds"], margin_seconds=1.0, renew_seconds=0.4)
        table = PostgresTable(said["database_url"], terms)
        self._gates = Gates("llm", slots=SLOTS, table=table)
        self._running: dict[Ticket, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """For ever."""
        self._gates.configure(LimitsOnly({("provider", "kimi"): Limit(concurrency=self._said["limit"])}))
        self._gates.on_open = lambda refusers: self._wake.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._gates.run())
            group.create_task(self._dispatch())

    async def _dispatch(self) -> None:
        while True:
            for ticket in self._gates.lapsed():
                self._running[ticket].cancel()
            while len(self._running) < SLOTS:
                admitted = self._gates.admit(LANE, 1.0, self._gates.clock())
                if not isinstance(admitted, Ticket):
                    break
                self._running[admitted] = asyncio.create_task(self._attempt(admitted))
            try:
                async with asyncio.timeout(0.1):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def _attempt(self, ticket: Ticket) -> None:
        try:
            # What a dispatcher does just before a handler runs.
            if ticket in self._gates.lapsed():
                return
            reader, writer = await asyncio.open_connection("127.0.0.1", self._said["port"])
            try:
                writer.write(b"work\n")
                await reader.read()
            finally:
                writer.close()
        finally:
            del self._running[ticket]
            self._gates.settle(ticket)
            self._wake.set()


if __name__ == "__main__":
    asyncio.run(Worker(json.loads(sys.argv[1])).run())
