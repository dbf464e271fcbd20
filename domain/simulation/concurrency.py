"""Limits on how much runs at a time, for the simulator: by model, provider, task type and tenant."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from domain.strategies.strategy import Lane

#: Scope (`model`, `provider`, `type`, `tenant`) and name.
LimitKey = tuple[str, str]


class Concurrency:
    """Counts what runs under each limit, and which lanes wait for a place under it."""

    def __init__(self, limits: Mapping[LimitKey, int] | None = None) -> None:
        self._limits = dict(limits or {})
        self._running: Counter[LimitKey] = Counter()
        self._closed: defaultdict[LimitKey, list[Lane]] = defaultdict(list)

    def admits(self, lane: Lane) -> bool:
        """Whether one more task of the lane may run; where not, the lane is reopened when it may."""
        for key in self._keys(lane):
            if self._running[key] >= self._limits[key]:
                self._closed[key].append(lane)
                return False
        return True

    def start(self, lane: Lane) -> None:
        """A task of the lane runs."""
        self._running.update(self._keys(lane))

    def end(self, lane: Lane) -> list[Lane]:
        """A task of the lane runs no more; the lanes that may be open now."""
        reopened: list[Lane] = []
        for key in self._keys(lane):
            self._running[key] -= 1
            reopened += self._closed.pop(key, ())
        return reopened

    def _keys(self, lane: Lane) -> list[LimitKey]:
        names = (
            ("model", lane.model),
            ("provider", lane.provider),
            ("type", lane.task_type),
            ("tenant", lane.tenant),
        )
        return [(scope, name) for scope, name in names if name is not None and (scope, name) in self._limits]
