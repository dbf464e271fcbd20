"""Where a waiting task stands: what the strategy of its class would start before it, if nothing more came."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

#: Task type, tenant and model of a lane.
LaneKey = tuple[str, str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """Which waiting tasks of a class make up a line; None means any."""

    models: Collection[str] | None = None
    tenant: str | None = None
    type: str | None = None
    #: Lanes whose tasks wait for something else, and stand in other lines.
    without: Collection[LaneKey] = ()


@dataclass(frozen=True, slots=True)
class Queue:
    """The waiting tasks of one tenant within a line: how many, and how many of them the order puts first."""

    tenant: str
    waiting: int
    ahead: int


@dataclass(frozen=True, slots=True)
class Line:
    """The waiting tasks that one of them stands in line with, counted tenant by tenant."""

    tenant: str
    queues: Sequence[Queue] = ()
    #: Those that have waited longer.
    older: int = 0

    def ahead(self, strategy: str, weight_of: Callable[[str], float]) -> int:
        """How many start before it.

        Under `fair` it is what deficit round robin comes to when all tasks cost the same: while the tenant has its turn
        k + 1 times, another one of the same weight has its own as often.
        """
        if strategy != "fair":
            return sum(queue.ahead for queue in self.queues)
        mine = self.ahead_of_tenant
        turns = mine / weight_of(self.tenant)
        others = (queue for queue in self.queues if queue.tenant != self.tenant)
        return mine + sum(min(queue.waiting, math.ceil((turns + 0.5) * weight_of(queue.tenant))) for queue in others)

    @property
    def ahead_of_tenant(self) -> int:
        """How many of its own tenant start before it."""
        return sum(queue.ahead for queue in self.queues if queue.tenant == self.tenant)
