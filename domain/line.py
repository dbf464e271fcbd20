"""Where a waiting task stands: what the strategy of its class would start before it, if nothing more came."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Queue:
    """The waiting tasks of one tenant within a line: how many, and how many of them the order puts first."""

    tenant: str
    waiting: int
    ahead: int


@dataclass(frozen=True, slots=True)
class Line:
    """The waiting tasks of a class beside one of them, counted tenant by tenant."""

    tenant: str
    #: All of the class.
    queues: Sequence[Queue] = ()
    #: Those that wait for the same model, of whichever tenant.
    of_model: Sequence[Queue] = ()
    #: Those of the class that have waited longer.
    older: int = 0

    def ahead(self, strategy: str, weight_of: Callable[[str], float], *, scope: str = "class") -> int:
        """How many start before it; in the line of its class, of its model or of its tenant.

        Under `fair` it is what deficit round robin comes to when all tasks cost the same: while the tenant has its turn
        k + 1 times, another one of the same weight has its own as often.
        """
        queues = self.of_model if scope == "model" else self.queues
        mine = sum(queue.ahead for queue in queues if queue.tenant == self.tenant)
        if scope == "tenant":
            return mine
        if strategy != "fair":
            return sum(queue.ahead for queue in queues)
        turns = mine / weight_of(self.tenant)
        others = (queue for queue in queues if queue.tenant != self.tenant)
        return mine + sum(min(queue.waiting, math.ceil((turns + 0.5) * weight_of(queue.tenant))) for queue in others)
