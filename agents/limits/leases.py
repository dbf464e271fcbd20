"""Keeps the leases of one process: renews them, asks for what tasks wait for, and gives back what nobody here needs."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable

from agents.limits.ports import LeaseTable, TableUnavailable
from domain.limits.holding import Holding
from domain.limits.holdings import Holdings
from domain.limits.providers import Providers

#: Least time between two exchanges: what is wanted meanwhile is asked for together.
EXCHANGE_SECONDS_MIN = 0.002
#: How often a holder that lacks permits asks again, where nobody tells it that some came free.
POLL_SECONDS = 0.2
#: Wait after an exchange that failed.
RETRY_SECONDS = 0.2
#: How long giving everything back may take when the process ends.
LEAVE_SECONDS_MAX = 0.5

Opened = Callable[[float, Iterable[Holding]], None]


class Leases:
    """The asynchronous side of the gates. Its holder id is random: nobody can be taken for a process before it."""

    def __init__(
        self,
        holdings: Holdings,
        providers: Providers,
        table: LeaseTable,
        opened: Opened,
        clock: Callable[[], float],
    ) -> None:
        self._holdings, self._providers, self._table = holdings, providers, table
        self._opened, self._clock = opened, clock
        self._holder = uuid.uuid4().hex
        self._serial = 0
        self._renewed_at = float("-inf")
        self._wanted, self._rearmed = asyncio.Event(), asyncio.Event()
        self._away = False
        self._log = logging.getLogger(__name__)

    def want(self) -> None:
        """There is something to tell the table before the next renewal."""
        self._wanted.set()

    def rearm(self) -> None:
        """A moment at which lanes open may have changed."""
        self._rearmed.set()
        self._tell()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep())
                group.create_task(self._open_in_time())
                group.create_task(self._listen())
        finally:
            await self._leave()

    async def _keep(self) -> None:
        while True:
            await _until(self._wanted, self._pause_seconds())
            self._wanted.clear()
            await self._exchange()
            await asyncio.sleep(EXCHANGE_SECONDS_MIN)

    async def _open_in_time(self) -> None:
        """Lanes that wait for a moment are looked at again at that moment, whatever the table does."""
        while True:
            now = self._clock()
            self._opened(now, ())
            self._tell()
            at = self._providers.reopens_at(now)
            await _until(self._rearmed, None if at is None else max(0.0, at - self._clock()))
            self._rearmed.clear()

    async def _listen(self) -> None:
        while True:
            if not self._concerned:
                # Who limits nothing needs no table.
                await asyncio.sleep(POLL_SECONDS)
                continue
            try:
                await self._table.listen(self._holder)
                self._wanted.set()
            except TableUnavailable:
                await asyncio.sleep(RETRY_SECONDS)

    def _tell(self) -> None:
        now = self._clock()
        if self._providers.untold(now) or self._providers.words(now):
            self._wanted.set()

    @property
    def _concerned(self) -> bool:
        return bool(self._providers) or bool(self._holdings.all())

    def _pause_seconds(self) -> float | None:
        """Until the next exchange, if nothing comes up before; None where there is nothing to renew."""
        now = self._clock()
        holdings, probe_at = self._holdings.all(), self._providers.renews_at()
        moments = [] if probe_at is None else [probe_at]
        if not holdings:
            return max(0.0, probe_at - now) if probe_at is not None else None
        moments += [self._renewed_at + self._table.terms.renew_seconds]
        moments += [at for holding in holdings if (at := holding.ready_at) is not None]
        if any(holding.wants for holding in holdings):
            moments.append(now + POLL_SECONDS)
        return max(0.0, min(moments) - now)

    async def _exchange(self) -> None:
        asked_at = self._clock()
        if not self._concerned:
            return
        renewal = asked_at - self._renewed_at >= self._table.terms.renew_seconds
        asks = self._holdings.asks(renewal=renewal)
        untold, words = self._providers.untold(asked_at), self._providers.words(asked_at)
        self._serial += 1
        try:
            found = await self._table.exchange(self._holder, self._serial, asks, untold, words)
        except TableUnavailable as error:
            if not self._away:
                self._log.warning("limited work goes on only until its leases end: %s", error)
            self._away = True
            self._providers.alone()
            self._rearmed.set()
            await asyncio.sleep(RETRY_SECONDS)
            return
        if self._away:
            self._log.warning("leases of limits are renewed again")
        self._away = False
        if renewal:
            self._renewed_at = asked_at
        now = self._clock()
        terms = self._table.terms
        self._holdings.answered(asks, found.answers, asked_at + terms.lease_seconds - terms.margin_seconds, now)
        self._providers.told(untold, asked_at)
        # The table has looked at its clock at some time between question and answer. Nobody may call too early, and
        # nobody may believe for too long that it alone may probe.
        self._providers.hear(found.blocked, now)
        self._providers.said(words)
        self._providers.hear_circuits(found.circuits, asked_at)
        self._rearmed.set()
        if any(holding.surplus and holding.wanted_by_others for holding in self._holdings.all()):
            self._wanted.set()
        self._opened(now, self._holdings.all())

    async def _leave(self) -> None:
        """What runs still counts until its lease ends; all else is free for others at once."""
        try:
            async with asyncio.timeout(LEAVE_SECONDS_MAX):
                if self._serial:
                    self._serial += 1
                    await self._table.exchange(self._holder, self._serial, self._holdings.leave(), {})
        except (TableUnavailable, TimeoutError) as error:
            self._log.info("leases are left to end by themselves: %s", error)
        finally:
            await self._table.close()


async def _until(event: asyncio.Event, seconds: float | None) -> None:
    """Wait for the event, or for so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
