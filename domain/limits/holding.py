"""What one process has of one limit: permits and blocks by its lease, and whether something waits for more. Pure.

Times are seconds of the process's own monotonic clock. A permit is in use from the admission of an attempt to its real
end; nothing that happens to the lease, the task or the limit in between makes it free.
"""

from __future__ import annotations

from domain.limits.bucket import MINUTE_SECONDS
from domain.limits.exchange import Answer, Ask
from domain.limits.limit import Key, Limit
from domain.limits.stock import Stock
from domain.limits.tickets import CONCURRENCY, RATE_LIMIT, Refusal, Ticket
from domain.strategies.strategy import Refuser

#: Bound on what is asked for ahead, as a multiple of what is lacking.
_AHEAD_MAX = 64
#: A lease that was never answered.
_NEVER = float("-inf")


class Holding:
    """One limit, as one process sees it."""

    def __init__(self, key: Key, limit: Limit, slots: int) -> None:
        self.key, self.limit = key, limit
        #: From when on nothing of it may be used.
        self.valid_until = _NEVER
        #: Others want permits that this process has above its share.
        self.wanted_by_others = False
        self._slots = slots
        self._granted = 0
        #: It should come down to so many permits.
        self._target = 0
        #: Attempts that run by a permit, the latest last; and those that began before the limit was set.
        self._in_use: dict[Ticket, None] = {}
        self._before_limit: dict[Ticket, None] = {}
        #: Tokens that running attempts reserved.
        self._reserved: dict[Ticket, float] = {}
        #: Most permits in use at a time since the last renewal: what is idle beyond them is given back.
        self._peak = 0
        #: Permits to ask for at a time; doubles while all that come are used.
        self._step = 1
        #: A task was refused for want of a permit, and nobody was told yet that there is one.
        self._crowded = False
        #: The same for want of units: the cost of the cheapest task that was refused.
        self._unfunded: float | None = None
        #: How many times as much is asked for as is lacking; doubles while it is all used.
        self._ahead = 1
        self._requests, self._tokens = Stock(), Stock()

    @property
    def running(self) -> int:
        """Attempts that count against it."""
        return len(self._in_use) + len(self._before_limit)

    @property
    def wants(self) -> bool:
        """A task waits for something of it."""
        return self._crowded or self._unfunded is not None

    @property
    def urgent(self) -> bool:
        """There is something to say of it before the next renewal."""
        return self.wants or self.surplus > 0

    @property
    def idle(self) -> bool:
        """Nothing of it is used, wanted or kept."""
        return not (self.running or self.wants or self._granted or self._requests.held or self._tokens.held)

    @property
    def surplus(self) -> int:
        """Idle permits that are for others."""
        return max(0, self._granted - max(self._target, len(self._in_use)))

    @property
    def ready_at(self) -> float | None:
        """When units that are waited for will be there."""
        if self._unfunded is None:
            return None
        moments = [at for stock in (self._requests, self._tokens) if (at := stock.ready_at) is not None]
        return max(moments, default=None)

    def room(self, now: float) -> bool:
        """A permit is free here."""
        limit = self.limit.concurrency
        return limit is None or (
            # A limit that was lowered holds before the table has heard of it.
            now < self.valid_until and self.running < min(self._granted, self._target, limit)
        )

    def refusal(self, cost: float, now: float) -> Refusal | None:
        """Why no task of that cost may start now; None where one may. Something waits from now on that is refused."""
        if not self.room(now):
            self._crowded = True
            return Refusal(CONCURRENCY, self.key.scope, self.key.name)
        cost = self._payable(cost)
        if self._lacks(cost, now):
            self._unfunded = cost if self._unfunded is None else min(cost, self._unfunded)
            return Refusal(RATE_LIMIT, self.key.scope, self.key.name, self.ready_at)
        return None

    def take(self, ticket: Ticket) -> None:
        """The attempt begins; `refusal` was None just now."""
        ticket.holdings.append(self)
        self._in_use[ticket] = None
        self._peak = max(self._peak, len(self._in_use))
        if self.limit.requests_per_minute is not None:
            self._requests.spend(1.0)
        if self.limit.tokens_per_minute is not None:
            self._reserved[ticket] = self._payable(ticket.cost)
            self._tokens.spend(self._reserved[ticket])

    def count(self, ticket: Ticket) -> None:
        """An attempt that began before there was such a limit counts from now on."""
        ticket.holdings.append(self)
        self._before_limit[ticket] = None

    def put_back(self, ticket: Ticket, tokens: float | None) -> None:
        """The attempt has ended, and used that many tokens; None: as many as it had reserved, for all one knows."""
        self._in_use.pop(ticket, None)
        self._before_limit.pop(ticket, None)
        reserved = self._reserved.pop(ticket, None)
        if reserved is not None and tokens is not None:
            self._tokens.settle(reserved, tokens)

    def reopened(self, now: float) -> list[Refuser]:
        """What it refused for and refuses for no more, as far as the next task goes; each is given once."""
        opened = []
        if self._crowded and self.room(now):
            self._crowded = False
            opened.append(self._refuser(CONCURRENCY))
        if self._unfunded is not None and not self._lacks(self._unfunded, now):
            self._unfunded = None
            opened.append(self._refuser(RATE_LIMIT))
        return opened

    def forget_waiting(self) -> list[Refuser]:
        """What it refused for: nothing waits for it any longer, since the limit is another one, or gone."""
        refused = [self._refuser(CONCURRENCY)] * self._crowded
        refused += [self._refuser(RATE_LIMIT)] * (self._unfunded is not None)
        self._crowded, self._unfunded = False, None
        return refused

    def ask(self, *, renewal: bool) -> Ask:
        """What to tell the table now; what it gives up by that is gone at once, whether or not the table hears it."""
        using = len(self._in_use)
        # Between renewals nobody can know yet what stays idle; what others are short of goes back at once.
        keep = self._peak if renewal and not self._crowded else self._granted
        self._granted = max(using, min(self._granted, self._target, keep)) if self._granted else 0
        if renewal:
            self._peak = using
            if self._unfunded is None:
                self._ahead = 1
                self._requests.give_back()
                self._tokens.give_back()
        if not self._crowded:
            self._step = 1
        wanted = self.running + (self._step if self._crowded else 0)
        requests = 0.0 if self._unfunded is None else 1.0
        return Ask(
            key=self.key,
            limit=self.limit,
            held=self._granted,
            wanted=0 if self.limit.concurrency is None else min(wanted, max(self.running, self._slots)),
            requests=self._requests.ask(self._wanted(requests, self.limit.requests_per_minute)),
            tokens=self._tokens.ask(self._wanted(self._unfunded or 0.0, self.limit.tokens_per_minute)),
        )

    def answered(self, ask: Ask, answer: Answer, valid_until: float, now: float) -> None:
        """The table has answered; the lease lasts until `valid_until`, a moment reckoned from before it was asked."""
        self.valid_until = valid_until
        if answer.granted < ask.held:
            # The lease had run out before it was renewed, and others may have what it was for.
            self._lapse(len(self._in_use) - answer.granted)
        if answer.granted > ask.held and self._crowded:
            self._step *= 2
        if self._unfunded is not None and self._ahead < _AHEAD_MAX:
            self._ahead *= 2
        self._granted, self._target = answer.granted, answer.target
        self.wanted_by_others = answer.others_starve
        while self._before_limit and len(self._in_use) < self._granted:
            ticket = next(iter(self._before_limit))
            del self._before_limit[ticket]
            self._in_use[ticket] = None
        self._requests.answered(answer.requests, now)
        self._tokens.answered(answer.tokens, now)

    def leave(self) -> None:
        """Nothing more is going to start here: what is idle is kept for nobody."""
        self.forget_waiting()
        self._peak = 0

    def lapsed(self, now: float) -> list[Ticket]:
        """Attempts that must end now, since the lease was not renewed; the same ones until they have ended."""
        if now >= self.valid_until and self._granted:
            self._lapse(len(self._in_use))
            self._granted = 0
            self._requests.lost()
            self._tokens.lost()
        return [ticket for ticket in self._in_use if ticket.lapsed]

    def change(self, limit: Limit) -> None:
        """The limit is another one from now on; what runs without a permit, since none was needed, goes on."""
        if self.limit.concurrency is None and limit.concurrency is not None:
            self._before_limit |= self._in_use
            self._in_use.clear()
        self.limit = limit

    def _refuser(self, cause: str) -> Refuser:
        return Refuser(cause, self.key.scope, self.key.name)

    def _lapse(self, number: int) -> None:
        """The latest attempts have done least."""
        if number > 0 and self.limit.concurrency is not None:
            for ticket in list(self._in_use)[-number:]:
                ticket.lapsed = True

    def _wanted(self, lacking: float, per_minute: float | None) -> float:
        """Enough for what waits, and for a second ahead at most, so that not each start needs a round trip."""
        if per_minute is None:
            return 0.0
        return max(lacking, min(lacking * self._ahead, per_minute / MINUTE_SECONDS))

    def _payable(self, cost: float) -> float:
        """A task that costs more than a minute has goes when a whole minute's worth is there."""
        most = self.limit.tokens_per_minute
        return cost if most is None else min(cost, most)

    def _lacks(self, cost: float, now: float) -> bool:
        requests, tokens = self.limit.requests_per_minute, self.limit.tokens_per_minute
        if requests is None and tokens is None:
            return False
        return (
            now >= self.valid_until
            or (requests is not None and self._requests.lacks(1.0))
            or (tokens is not None and self._tokens.lacks(cost))
        )
