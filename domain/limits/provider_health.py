"""When to leave a provider alone: it asked for it, or has failed too often in a row. Pure; monotonic seconds."""

from __future__ import annotations

from dataclasses import dataclass

from domain.errors import TaskError
from domain.limits.breaker import Breaker, CoolDown
from domain.limits.limit import Key
from domain.limits.tickets import BACKOFF, RATE_LIMIT, Refusal, Ticket
from domain.provider_errors import BREAKING, RATE_LIMITED
from domain.strategies.strategy import Refuser

_LONG_AGO = float("-inf")
#: The other side may send anything; nobody is left alone for ever.
RETRY_AFTER_SECONDS_MAX = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How much a provider may fail, and how long it is left alone then."""

    #: Failures in a row that open the circuit.
    failures_max: int = 5
    #: The first cool-down, in seconds; doubles with each probe that fails, up to the longest.
    cool_down_seconds: float = 10.0
    cool_down_seconds_max: float = 300.0
    #: Wait after the first refusal that names none (429 without Retry-After); doubles with each further one.
    slow_down_seconds: float = 1.0
    slow_down_seconds_max: float = 60.0

    @property
    def cool_down(self) -> CoolDown:
        """The part of it that concerns failures."""
        return CoolDown(
            failures_max=self.failures_max, seconds=self.cool_down_seconds, seconds_max=self.cool_down_seconds_max
        )


class ProviderHealth:
    """What one process knows of one provider."""

    def __init__(self, name: str, patience: Patience) -> None:
        self.key = Key("provider", name)
        #: No call before this moment: the provider has said so, here or to another process.
        self.blocked_until = _LONG_AGO
        self._patience = patience
        #: The others have not heard of that moment yet.
        self.untold = False
        self._blocked_at = _LONG_AGO
        self._refusals = 0
        self.breaker = Breaker(patience.cool_down)
        #: What tasks were refused for, of which nobody was told yet that it is over.
        self._refused: set[Refuser] = set()

    @property
    def waited_for(self) -> bool:
        """Whether something was refused, and waits."""
        return bool(self._refused)

    def reopens_at(self, now: float) -> float | None:
        """When what waits may be looked at again; None where nothing waits, or a probe decides."""
        moments = [self.blocked_until, self.breaker.until or _LONG_AGO]
        return max(moments) if self._refused and max(moments) > now else None

    def refusal(self, now: float) -> Refusal | None:
        """Why no attempt may call the provider now; something waits from now on that is refused."""
        refusal = None
        if now < self.blocked_until:
            refusal = Refusal(RATE_LIMIT, self.key.scope, self.key.name, self.blocked_until)
        elif self.breaker.refuses(now):
            refusal = Refusal(BACKOFF, self.key.scope, self.key.name, self.breaker.opens_at(now))
        if refusal is not None:
            self._refused.add(refusal.refuser)
        return refusal

    def take(self, ticket: Ticket) -> None:
        """An attempt calls the provider; `refusal` was None just now."""
        ticket.provider = self
        self.breaker.begun(ticket)

    def put_back(self, ticket: Ticket, error: TaskError | None, *, stopped: bool, now: float) -> None:
        """The attempt has ended; `stopped`: by ourselves, which says nothing of the provider."""
        if stopped:
            self.breaker.stopped(ticket)
        elif error is not None and error.code == RATE_LIMITED:
            self.breaker.stopped(ticket)
            self._slow_down(ticket, error.retry_after_seconds, now)
        elif error is not None and error.code in BREAKING:
            self.breaker.failed(ticket, now)
            if error.retry_after_seconds:
                self.block(now + min(error.retry_after_seconds, RETRY_AFTER_SECONDS_MAX), now)
        else:
            # Whatever else an attempt ends by, the provider has answered.
            self._refusals = 0
            self.breaker.succeeded(ticket)

    def block(self, until: float, now: float, *, heard: bool = False) -> None:
        """Leave the provider alone until then; never shortens what was said before. `heard`: from another process."""
        if until > max(now, self.blocked_until):
            self.blocked_until = until
            self._blocked_at = now
            self.untold = not heard

    def reopened(self, now: float) -> list[Refuser]:
        """What it refused for and refuses for no more; each is given once."""
        if not self._refused or now < self.blocked_until or self.breaker.refuses(now):
            return []
        opened = sorted(self._refused)
        self._refused.clear()
        return opened

    def _slow_down(self, ticket: Ticket, seconds: float | None, now: float) -> None:
        if seconds is not None:
            self.block(now + min(seconds, RETRY_AFTER_SECONDS_MAX), now)
        elif ticket.admitted_at >= self._blocked_at:
            # Attempts that were under way when the first one was refused say nothing new.
            patience = self._patience
            wait = min(patience.slow_down_seconds * 2.0**self._refusals, patience.slow_down_seconds_max)
            self._refusals += 1
            self.block(now + wait, now)
