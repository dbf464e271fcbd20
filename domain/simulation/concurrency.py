"""Limits on how much runs at a time, for the simulator: by model, provider, task type and tenant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from domain.strategies.strategy import Lane, Refuser
from domain.waits import CONCURRENCY

#: Scope (`model`, `provider`, `type`, `tenant`) and name.
LimitKey = tuple[str, str]


class Concurrency:
    """Counts what runs under each limit."""

    def __init__(self, limits: Mapping[LimitKey, int] | None = None) -> None:
        self._limits = dict(limits or {})
        self._running: Counter[LimitKey] = Counter()

    def refuser(self, lane: Lane) -> Refuser | None:
        """What refuses one more task of the lane; None where it may run."""
        for key in self._keys(lane):
            if self._running[key] >= self._limits[key]:
                return Refuser(CONCURRENCY, *key)
        return None

    def start(self, lane: Lane) -> None:
        """A task of the lane runs."""
        self._running.update(self._keys(lane))

    def end(self, lane: Lane) -> list[Refuser]:
        """A task of the lane runs no more; what may refuse no more."""
        keys = self._keys(lane)
        self._running.subtract(keys)
        return [Refuser(CONCURRENCY, *key) for key in keys]

    def _keys(self, lane: Lane) -> list[LimitKey]:
        names = (
            ("model", lane.model),
            ("provider", lane.provider),
            ("type", lane.task_type),
            ("tenant", lane.tenant),
        )
        return [(scope, name) for scope, name in names if name is not None and (scope, name) in self._limits]
