"""Permits within one process: what an installation without PostgreSQL has, and tests."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from agents.limits.ports import Exchanged
from domain.limits.breaker import SILENCE, Row, Words, said_by, told_to
from domain.limits.exchange import Answer, Ask, Buckets, Lease, Terms, concerns_others, exchange
from domain.limits.limit import Key


class LocalTable:
    """Implements `LeaseTable` in memory, by the very same rule; bounds hold among holders that share the object."""

    def __init__(self, terms: Terms | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.terms = terms or Terms()
        self._clock = clock
        self._leases: dict[Key, dict[str, Lease]] = defaultdict(dict)
        self._buckets: dict[Key, Buckets] = {}
        self._blocked: dict[str, float] = {}
        self._circuits: dict[str, Row] = {}
        #: How often something was told, and how much of it each holder has heard.
        self._told = 0
        self._heard: dict[str, int] = {}
        self._telling = asyncio.Condition()

    async def exchange(
        self, holder: str, serial: int, asks: Sequence[Ask], blocked: Mapping[str, float], words: Words = SILENCE
    ) -> Exchanged:
        """See `LeaseTable.exchange`."""
        now = self._clock()
        for name, seconds in blocked.items():
            self._blocked[name] = max(self._blocked.get(name, now), now + seconds)
        self._blocked = {name: until for name, until in self._blocked.items() if until > now}
        told = self._told
        answers = [self._answer(ask, holder, serial, now) for ask in asks]
        self._circuits = said_by(holder, words, self._circuits, now)
        if blocked or words.opened or words.closed or self._told > told:
            self._told = told + 1
            async with self._telling:
                self._telling.notify_all()
        waits = {name: until - now for name, until in self._blocked.items()}
        return Exchanged(answers, waits, told_to(holder, self._circuits, now))

    async def listen(self, holder: str) -> None:
        """See `LeaseTable.listen`; hears itself too."""
        async with self._telling:
            await self._telling.wait_for(lambda: self._heard.get(holder, -1) < self._told)
        self._heard[holder] = self._told

    async def close(self) -> None:
        """See `LeaseTable.close`: there are none."""

    def granted(self, key: Key) -> int:
        """Permits that leases stand for now."""
        now = self._clock()
        return sum(lease.granted for lease in self._leases[key].values() if lease.expires_at > now)

    def _answer(self, ask: Ask, holder: str, serial: int, now: float) -> Answer:
        leases, buckets = self._leases[ask.key], self._buckets.get(ask.key, Buckets())
        lease, self._buckets[ask.key], answer = exchange(
            ask, holder, serial, list(leases.values()), buckets, now, self.terms
        )
        if concerns_others(leases.get(holder), lease, answer):
            self._told += 1
        leases[holder] = lease
        if ask.idle:
            del leases[holder]
        return answer
