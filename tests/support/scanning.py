"""Strategies as one would write them without a thought for their cost: scan all that waits, ask every limit."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from domain.strategies.estimates import Estimates
from domain.strategies.fair import LEAST
from domain.strategies.strategy import Lane, Refuser, Usage, Waiting

Key = tuple[float, ...]


@dataclass
class Limited:
    """Limits by scope and name, and what runs under them; a lane's limits are asked in the order of the gates."""

    limits: Mapping[tuple[str, str], int]
    running: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: How often it was asked, and how often it refused.
    asked: int = 0
    refused: int = 0

    def refuser(self, task: Waiting) -> Refuser | None:
        """What refuses the task."""
        self.asked += 1
        for key in self._keys(task.lane):
            if self.running[key] >= self.limits[key]:
                self.refused += 1
                return Refuser("concurrency", *key)
        return None

    def start(self, lane: Lane) -> None:
        """A task of the lane runs."""
        self.running.update(self._keys(lane))

    def end(self, lane: Lane) -> list[Refuser]:
        """A task of the lane runs no more; what may have refused others meanwhile."""
        self.running.subtract(self._keys(lane))
        return [Refuser("concurrency", *key) for key in self._keys(lane)]

    def _keys(self, lane: Lane) -> list[tuple[str, str]]:
        names = {
            "tenant": lane.tenant,
            "type": lane.task_type,
            "class": "llm",
            "model": lane.model,
            "provider": lane.provider,
        }
        return [(scope, name) for scope, name in names.items() if name and (scope, name) in self.limits]


@dataclass
class Scanning:
    """The least key among the tasks that may start."""

    key: Callable[[Waiting], Key]
    waiting: dict[str, Waiting] = field(default_factory=dict)

    def push(self, task: Waiting) -> None:
        """The task waits."""
        self.waiting[task.task_id] = task

    def remove(self, task_id: str) -> Waiting:
        """The task waits no more."""
        return self.waiting.pop(task_id)

    def best(self, startable: Iterable[Waiting]) -> Waiting:
        """The one of them to start next."""
        return min(startable, key=self.key)

    def started(self, task: Waiting) -> None:
        """It starts."""
        self.remove(task.task_id)

    def ended(self, task: Waiting, usage: Usage) -> None:
        """Its attempt is over."""


@dataclass
class ScanningEstimates(Scanning):
    """The shortest estimate, of which the missing ones are learned."""

    learned: Estimates = field(default_factory=Estimates)

    def best(self, startable: Iterable[Waiting]) -> Waiting:
        """See `Scanning.best`."""
        return min(startable, key=lambda task: (self._seconds(task), *task.arrival))

    def ended(self, task: Waiting, usage: Usage) -> None:
        """See `Scanning.ended`."""
        self.learned.learn(task.lane.task_type, task.lane.model, usage.seconds)

    def _seconds(self, task: Waiting) -> float:
        if task.estimate_seconds is not None:
            return task.estimate_seconds
        return self.learned.seconds(task.lane.task_type, task.lane.model)


@dataclass
class Share:
    """One tenant's account."""

    round: float
    credit: float = 0.0
    served: float = 0.0
    standing: tuple[float, float, int] = (-math.inf, 0.0, 0)


@dataclass
class ScanningFair(Scanning):
    """Deficit round robin, by the rules in the head of `domain.strategies.fair`; `owed_max` as there."""

    quantum: float = 100.0
    weights: Mapping[str, float] = field(default_factory=dict)
    owed_max: float = 1000.0
    round: float = 0.0
    served: float = 0.0
    shares: dict[str, Share] = field(default_factory=dict)
    charged: dict[str, float] = field(default_factory=dict)
    steps: int = 0

    def push(self, task: Waiting) -> None:
        """See `Scanning.push`."""
        tenant = task.lane.tenant
        share = self.shares.setdefault(tenant, Share(self.round))
        if not any(other.lane.tenant == tenant for other in self.waiting.values()):
            self._bring_up(tenant)
            share.credit, share.served = min(share.credit, 0.0), max(share.served, self.served)
        super().push(task)
        self._stand(tenant)

    def remove(self, task_id: str) -> Waiting:
        """See `Scanning.remove`."""
        task = super().remove(task_id)
        self._stand(task.lane.tenant)
        return task

    def best(self, startable: Iterable[Waiting]) -> Waiting:
        """See `Scanning.best`."""

        def key(task: Waiting) -> tuple[float, ...]:
            paid, *standing = self.shares[task.lane.tenant].standing
            return (max(paid, self.round - self.owed_max), *standing, *self.key(task))

        return min(startable, key=key)

    def started(self, task: Waiting) -> None:
        """See `Scanning.started`."""
        tenant = task.lane.tenant
        share = self.shares[tenant]
        forgotten = self.round - self.owed_max - self._paid(tenant)
        if forgotten > 0:
            share.credit -= forgotten * self._grant(tenant)
        self.round = max(self.round, self._paid(tenant))
        self.served = max(self.served, share.served)
        self._bring_up(tenant)
        self.charged[task.task_id] = task.cost
        self._charge(tenant, task.cost)
        super().started(task)

    def ended(self, task: Waiting, usage: Usage) -> None:
        """See `Scanning.ended`."""
        assert usage.tokens is not None
        # Nothing is for nothing: what used no tokens is charged a trifle.
        used = max(usage.tokens, self.quantum * LEAST)
        self._charge(task.lane.tenant, used - self.charged.pop(task.task_id))
        self._stand(task.lane.tenant)

    def _charge(self, tenant: str, cost: float) -> None:
        self.shares[tenant].credit -= cost
        self.shares[tenant].served += cost / self.weights[tenant]

    def _bring_up(self, tenant: str) -> None:
        share = self.shares[tenant]
        share.credit += (self.round - share.round) * self._grant(tenant)
        share.round = self.round

    def _stand(self, tenant: str) -> None:
        share = self.shares[tenant]
        now = (self._paid(tenant), share.served)
        if now != share.standing[:2]:
            self.steps += 1
            share.standing = (*now, self.steps)

    def _paid(self, tenant: str) -> float:
        share = self.shares[tenant]
        return share.round + math.ceil(-share.credit / self._grant(tenant) - 1e-9)

    def _grant(self, tenant: str) -> float:
        return self.quantum * self.weights[tenant]
