"""Which instance of a model serves the next call. Pure: the clock comes in with each question.

An instance that fails several times in a row is taken out, and asked by probes, ever more rarely, until it answers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from schemas.models import Balancing, HealthCheck


@dataclass(slots=True)
class _Instance:
    weight: int
    #: Smooth weighted round robin: how much the instance is owed.
    owed: int = 0
    #: Round robin: the number of the turn in which it was last chosen.
    chosen: int = 0
    connections: int = 0
    failures: int = 0
    #: When it is to be probed; None while it is well.
    probe_at: float | None = None
    probes: int = 0


class Balancer:
    """Chooses among the well instances of one model, and counts the calls that each of them serves."""

    def __init__(self, weights: Mapping[str, int], policy: Balancing, health: HealthCheck) -> None:
        self._instances = {name: _Instance(weight) for name, weight in weights.items()}
        self._policy, self._health = policy, health
        self._turn = 0

    def take(self, *, without: Collection[str] = ()) -> str | None:
        """The instance for one more call, which `release` must end; None while no instance is well.

        `without` names those that the same call has failed on.
        """
        well = {n: i for n, i in self._instances.items() if i.probe_at is None and n not in without}
        if not well:
            return None
        match self._policy:
            case "round_robin":
                name = min(well, key=lambda n: well[n].chosen)
            case "weighted_round_robin":
                name = _smooth(well)
            case "least_connections":
                # Among equals it goes in turn: the first would otherwise get every call of a quiet hour.
                name = min(well, key=lambda n: (well[n].connections / well[n].weight, well[n].chosen))
        self._turn += 1
        well[name].chosen = self._turn
        well[name].connections += 1
        return name

    def release(self, name: str) -> None:
        """A call has ended."""
        self._instances[name].connections -= 1

    def succeeded(self, name: str) -> None:
        """The instance served a call."""
        instance = self._instances[name]
        instance.failures, instance.probe_at, instance.probes = 0, None, 0

    def failed(self, name: str, now: float) -> None:
        """The instance, not the call, was at fault."""
        instance = self._instances[name]
        instance.failures += 1
        if instance.probe_at is None and instance.failures >= self._health.failures_max:
            instance.probe_at = now + self._health.interval_seconds
            instance.owed = 0

    def due(self, now: float) -> list[str]:
        """Instances to be probed now."""
        return [name for name, each in self._instances.items() if each.probe_at is not None and each.probe_at <= now]

    def probed(self, name: str, answered: bool, now: float) -> None:
        """The outcome of a probe: back into use, or asked again after twice the time."""
        if answered:
            self.succeeded(name)
            return
        instance = self._instances[name]
        instance.probes += 1
        wait = min(self._health.interval_seconds * 2 ** min(instance.probes, 30), self._health.interval_seconds_max)
        instance.probe_at = now + wait

    def next_probe_at(self) -> float | None:
        """When the next probe is due, by the clock that the calls give."""
        return min((each.probe_at for each in self._instances.values() if each.probe_at is not None), default=None)

    def connections(self) -> dict[str, int]:
        """Calls that each instance serves now."""
        return {name: each.connections for name, each in self._instances.items()}

    def well(self) -> list[str]:
        """Instances that calls may go to."""
        return [name for name, each in self._instances.items() if each.probe_at is None]


def _smooth(well: Mapping[str, _Instance]) -> str:
    """Spreads an instance's turns evenly: 5, 1, 1 gives a a b a c a a.

    Source: nginx, commit 52327e0 "Upstream: smooth weighted round-robin balancing".
    """
    for instance in well.values():
        instance.owed += instance.weight
    name = max(well, key=lambda n: well[n].owed)
    well[name].owed -= sum(instance.weight for instance in well.values())
    return name
