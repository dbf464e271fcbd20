"""What the gates say to the dispatcher: an attempt may begin, or why it may not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from domain.limits.limit import Scope
from domain.strategies.strategy import Lane, Refuser

if TYPE_CHECKING:
    from domain.limits.holding import Holding
    from domain.limits.provider_health import ProviderHealth

#: Causes of waiting: as many attempts run as may.
CONCURRENCY: Final = "concurrency"
#: As much was begun in this minute as may be, or the provider asked to be left alone.
RATE_LIMIT: Final = "rate_limit"
#: The provider has failed too often in a row.
BACKOFF: Final = "backoff"


@dataclass(slots=True, eq=False)
class Ticket:
    """One attempt may run. Kept from `Gates.admit` to `Gates.settle`, which must be called once the attempt has ended.

    What it stands for is counted until then, whatever becomes of the task or of the shard.
    """

    lane: Lane
    #: What it reserved of each bucket for tokens.
    cost: float
    #: When it was given out, by the clock of the gates.
    admitted_at: float
    holdings: list[Holding] = field(default_factory=list)
    provider: ProviderHealth | None = None
    #: A lease behind it could not be renewed: its attempt must end now.
    lapsed: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A task may not start now, since a limit refuses it."""

    #: A cause of waiting: `concurrency`, `rate_limit` or `backoff`.
    cause: str
    scope: Scope
    name: str
    #: When that will be over, by the clock of the gates; None where only others' ends decide.
    until: float | None = None

    @property
    def refuser(self) -> Refuser:
        """What refuses, whoever asks."""
        return Refuser(self.cause, self.scope, self.name)
