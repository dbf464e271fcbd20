"""All providers that a process has called, and when each may be called again. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from domain.limits.breaker import Circuit, Opened, Told, Words
from domain.limits.provider_health import Patience, ProviderHealth
from domain.strategies.strategy import Lane, Refuser

#: A block that another process tells of, and that ends no later than this after the one known here, is the same one.
SAME_SECONDS = 0.05


class Providers:
    """Their health, as far as this process knows it."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._by_name: dict[str, ProviderHealth] = {}

    def __bool__(self) -> bool:
        """Whether any has been called."""
        return bool(self._by_name)

    def of(self, lane: Lane) -> ProviderHealth | None:
        """The health of the provider that the lane's tasks call; None where they call none."""
        return None if lane.provider is None else self._named(lane.provider)

    def circuit(self, name: str, now: float) -> Circuit:
        """State of a provider's breaker."""
        health = self._by_name.get(name)
        return Circuit.CLOSED if health is None else health.breaker.circuit(now)

    def untold(self, now: float) -> dict[str, float]:
        """Seconds for which providers want to be left alone, of which the others have not heard."""
        return {
            name: health.blocked_until - now
            for name, health in self._by_name.items()
            if health.untold and health.blocked_until > now
        }

    def told(self, blocked: Mapping[str, float], now: float) -> None:
        """The others have heard it, as far as nothing was added since."""
        for name, seconds in blocked.items():
            health = self._by_name[name]
            health.untold = health.untold and health.blocked_until > now + seconds

    def hear(self, blocked: Mapping[str, float], now: float) -> None:
        """What other processes were told, in seconds from now."""
        for name, seconds in blocked.items():
            health = self._named(name)
            if now + seconds > health.blocked_until + SAME_SECONDS:
                health.block(now + seconds, now, heard=True)

    def words(self, now: float) -> Words:
        """What the others must hear of circuits."""
        words = {name: health.breaker.word(now, waits=health.waited_for) for name, health in self._by_name.items()}
        return Words(
            opened={name: word for name, word in words.items() if isinstance(word, Opened)},
            closed=frozenset(name for name, word in words.items() if word is False),
            probes=frozenset(name for name, word in words.items() if word is True),
        )

    def said(self, words: Words) -> None:
        """The table has heard them."""
        for name, opened in words.opened.items():
            self._by_name[name].breaker.said(opened)
        for name in words.closed:
            self._by_name[name].breaker.said(None)

    def hear_circuits(self, told: Mapping[str, Told], now: float) -> None:
        """All that the table knows to be open."""
        for name in told:
            self._named(name)
        for name, health in self._by_name.items():
            health.breaker.hear(told.get(name), now)

    def alone(self) -> None:
        """The table cannot be reached: this process goes by what it knows."""
        for health in self._by_name.values():
            health.breaker.alone()

    def renews_at(self) -> float | None:
        """When the table must hear again that a probe runs."""
        return min(
            (at for each in self._by_name.values() if (at := each.breaker.renews_at()) is not None), default=None
        )

    def reopens_at(self, now: float) -> float | None:
        """The next moment at which lanes may wait no longer."""
        moments = [at for health in self._by_name.values() if (at := health.reopens_at(now)) is not None]
        return min(moments, default=None)

    def reopened(self, now: float) -> list[Refuser]:
        """What providers refused for and refuse for no more."""
        return [refuser for health in self._by_name.values() for refuser in health.reopened(now)]

    def _named(self, name: str) -> ProviderHealth:
        health = self._by_name.get(name)
        if health is None:
            health = self._by_name[name] = ProviderHealth(name, self._patience)
        return health
