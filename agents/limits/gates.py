"""The limits of one worker: may a task start now, and if not, what refuses it. Synchronous, in microseconds.

An attempt takes a permit of each limit on it, all or none, from what the process has by its leases; `Gates.run` renews
them and asks for more where tasks wait. Without limits there is nothing to take, and no database is needed.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from agents.limits.leases import Leases
from agents.limits.local import LocalTable
from agents.limits.ports import LeaseTable
from domain.errors import TaskError
from domain.limits.breaker import Circuit
from domain.limits.holding import Holding
from domain.limits.holdings import Holdings
from domain.limits.limit import Limits
from domain.limits.provider_health import Patience
from domain.limits.providers import Providers
from domain.limits.tickets import Refusal, Ticket
from domain.strategies.strategy import Lane, Refuser


class HasLimits(Protocol):
    """The part of a configuration that concerns the gates."""

    @property
    def limits(self) -> Limits:
        """Limits by scope and name."""


class Gates:
    """One for each worker. `now` is `clock()`, read afresh: a loop's own time is as old as its process was frozen."""

    def __init__(
        self,
        resource_class: str,
        *,
        slots: int,
        table: LeaseTable | None = None,
        node: str | None = None,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        #: Told what refused tasks and may refuse no more.
        self.on_open: Callable[[Sequence[Refuser]], None] = lambda refusers: None
        self.clock = clock
        self._holdings = Holdings(resource_class, node or socket.gethostname(), slots)
        self._providers = Providers(patience or Patience())
        self._tickets: set[Ticket] = set()
        self._leases = Leases(self._holdings, self._providers, table or LocalTable(), self._open, clock)

    def admit(self, lane: Lane, cost: float, now: float) -> Ticket | Refusal:
        """A permit of each limit on the lane, or why there is none; `cost` is the tokens that the attempt may use.

        What refused is told to `on_open` when it may do so no more; until then it refuses every lane that it is on.
        """
        provider = self._providers.of(lane)
        if provider is not None and (refusal := provider.refusal(now)):
            self._leases.rearm()
            return refusal
        holdings = self._holdings.on(lane)
        for holding in holdings:
            if refusal := holding.refusal(cost, now):
                self._leases.want()
                return refusal
        ticket = Ticket(lane, cost, now)
        for holding in holdings:
            holding.take(ticket)
        if provider is not None:
            provider.take(ticket)
        self._tickets.add(ticket)
        return ticket

    def settle(
        self, ticket: Ticket, *, tokens: float | None = None, error: TaskError | None = None, stopped: bool = False
    ) -> None:
        """The attempt has really ended: what it held is free. To be called once, whatever became of its task.

        `tokens`: what it used; None: what it had reserved. `error`: by what it failed. `stopped`: it was told to stop,
        or never began, so that its end says nothing of the provider.
        """
        now = self.clock()
        self._tickets.remove(ticket)
        for holding in ticket.holdings:
            holding.put_back(ticket, tokens)
        if ticket.provider is not None:
            ticket.provider.put_back(ticket, error, stopped=stopped, now=now)
            self._leases.rearm()
        if any(holding.urgent for holding in ticket.holdings):
            self._leases.want()
        self._open(now, ticket.holdings)

    def lapsed(self) -> list[Ticket]:
        """Attempts that must be stopped now: a lease behind them could not be renewed. At no cost to their tasks.

        The same ones until they are settled; to be asked for at least every `TICK_SECONDS` of the dispatcher, and for
        each attempt just before its handler runs.
        """
        now = self.clock()
        return [ticket for holding in self._holdings.all() for ticket in holding.lapsed(now)]

    def configure(self, configuration: HasLimits) -> None:
        """Go by these limits from now on; what runs counts, also against a limit that is new."""
        refusers = self._holdings.change(configuration.limits, self._tickets)
        self._leases.want()
        if refusers:
            self.on_open(refusers)

    def circuit(self, provider: str) -> Circuit:
        """State of a provider's breaker, as this process has found it."""
        return self._providers.circuit(provider, self.clock())

    async def run(self) -> None:
        """Renew the leases and ask for what tasks wait for, until cancelled; then give back what is not in use."""
        await self._leases.run()

    def _open(self, now: float, holdings: Iterable[Holding]) -> None:
        refusers = self._providers.reopened(now)
        for holding in holdings:
            refusers += holding.reopened(now)
        if refusers:
            self.on_open(refusers)
