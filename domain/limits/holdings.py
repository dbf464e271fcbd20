"""All limits of one process, and which of them are on a lane. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from domain.limits.exchange import Answer, Ask
from domain.limits.holding import Holding
from domain.limits.limit import EACH, Key, Limit, Limits, Scope, limits_on
from domain.limits.tickets import Ticket
from domain.strategies.strategy import Lane, Refuser

#: What holds where nothing is limited any more, and attempts that count still run.
_NONE: Final = Limit()


class Holdings:
    """What a worker of one class on one node has of each limit that its work has met."""

    def __init__(self, resource_class: str, node: str, slots: int) -> None:
        self._class, self._node, self._slots = resource_class, node, slots
        self._limits: Limits = {}
        self._by_key: dict[Key, Holding] = {}
        self._by_lane: dict[Lane, tuple[Holding, ...]] = {}

    def on(self, lane: Lane) -> tuple[Holding, ...]:
        """The limits on a lane, in the order in which permits are taken."""
        found = self._by_lane.get(lane)
        if found is None:
            found = self._by_lane[lane] = tuple(
                self._holding(*each) for each in limits_on(self._limits, self._names(lane))
            )
        return found

    def change(self, limits: Limits, running: Iterable[Ticket]) -> list[Refuser]:
        """Go by these limits from now on: what runs counts against new ones too. What needs another look."""
        self._limits = dict(limits)
        self._by_lane.clear()
        for key, holding in self._by_key.items():
            holding.change(self._limits.get(key) or self._limits.get((key.scope, EACH)) or _NONE)
        for ticket in running:
            for holding in self.on(ticket.lane):
                if holding not in ticket.holdings:
                    holding.count(ticket)
        return [refuser for holding in self._by_key.values() for refuser in holding.forget_waiting()]

    def asks(self, *, renewal: bool) -> list[Ask]:
        """What to tell the table: of all of them at a renewal, else of those that cannot wait for it."""
        return [holding.ask(renewal=renewal) for holding in self._by_key.values() if renewal or holding.urgent]

    def leave(self) -> list[Ask]:
        """What to tell the table when nothing more is going to start: only what runs is kept."""
        for holding in self._by_key.values():
            holding.leave()
        return self.asks(renewal=True)

    def answered(self, asks: Sequence[Ask], answers: Sequence[Answer], valid_until: float, now: float) -> None:
        """The table has answered what `asks` gave. Limits that it knows to be unused here are forgotten."""
        for ask, answer in zip(asks, answers, strict=True):
            holding = self._by_key[ask.key]
            holding.answered(ask, answer, valid_until, now)
            if ask.idle and holding.idle:
                del self._by_key[ask.key]
                self._by_lane.clear()

    def all(self) -> tuple[Holding, ...]:
        """Each that is used, wanted or kept, or was just now."""
        return tuple(self._by_key.values())

    def _names(self, lane: Lane) -> dict[Scope, str | None]:
        return {
            "tenant": lane.tenant,
            "type": lane.task_type,
            "node": self._node,
            "class": self._class,
            "model": lane.model,
            "provider": lane.provider,
        }

    def _holding(self, key: Key, limit: Limit) -> Holding:
        holding = self._by_key.get(key)
        if holding is None:
            holding = self._by_key[key] = Holding(key, limit, self._slots)
        return holding
