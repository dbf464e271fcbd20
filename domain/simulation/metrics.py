"""What a simulation or a recording came to, in figures."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from domain.simulation.jobs import MICROSECONDS, Outcome


@dataclass(frozen=True, slots=True)
class Waits:
    """How long tasks waited for their first start, in seconds; all 0 where none started."""

    tasks: int
    mean_seconds: float
    p50_seconds: float
    p95_seconds: float
    p99_seconds: float
    max_seconds: float


@dataclass(frozen=True, slots=True)
class Figures:
    """One run of one strategy over one load."""

    waits: Waits
    #: Time in the system for the time that it would take alone: the mean over all tasks, and the 99th percentile.
    slowdown_mean: float
    slowdown_p99: float
    #: Jain's index of what tenants were given for what was due to them: 1 is fair, 1/n is all for one.
    jain: float
    #: Of the tasks with a deadline, the share that had not started by then.
    deadline_misses: float
    #: Starts per task: above 1 where turns were given back.
    starts_per_task: float


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that so large a share does not exceed (nearest rank); 0 for no values. `ordered` ascends."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def waits_of(seconds: Iterable[float]) -> Waits:
    """Figures of these waits."""
    ordered = sorted(seconds)
    return Waits(
        tasks=len(ordered),
        mean_seconds=sum(ordered) / len(ordered) if ordered else 0.0,
        p50_seconds=percentile(ordered, 0.50),
        p95_seconds=percentile(ordered, 0.95),
        p99_seconds=percentile(ordered, 0.99),
        max_seconds=percentile(ordered, 1.0),
    )


def figures_of(outcomes: Sequence[Outcome], weights: Callable[[str], float] = lambda tenant: 1.0) -> Figures:
    """Figures of a run over its whole load."""
    slowdowns = sorted(outcome.slowdown for outcome in outcomes if outcome.slowdown is not None)
    with_deadline = [outcome for outcome in outcomes if outcome.job.task.deadline_ms is not None]
    late = sum(outcome.started_us is None for outcome in with_deadline)
    return Figures(
        waits=waits_of(seconds_waited(outcomes)),
        slowdown_mean=sum(slowdowns) / len(slowdowns) if slowdowns else 0.0,
        slowdown_p99=percentile(slowdowns, 0.99),
        jain=tenant_fairness(outcomes, weights),
        deadline_misses=late / len(with_deadline) if with_deadline else 0.0,
        starts_per_task=sum(outcome.starts for outcome in outcomes) / max(len(outcomes), 1),
    )


def seconds_waited(outcomes: Iterable[Outcome]) -> list[float]:
    """The waits of all that started."""
    return [outcome.waited_us / MICROSECONDS for outcome in outcomes if outcome.waited_us is not None]


def jain(shares: Sequence[float]) -> float:
    """Jain's index: 1 where all shares are equal, 1/n where one has all; 1 for no shares.

    Source: R. Jain, D. Chiu, W. Hawe, DEC TR-301, 1984.
    """
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def tenant_fairness(outcomes: Sequence[Outcome], weights: Callable[[str], float]) -> float:
    """Jain's index of what each tenant was given, for its fair share of it, up to the last arrival.

    Up to then, since afterwards everybody is served whatever the order was. The fair share is what a tenant is due by
    its weight of all that was given, and never more than it asked for.
    """
    horizon_us = max((outcome.job.arrives_us for outcome in outcomes), default=0)
    asked: defaultdict[str, float] = defaultdict(float)
    given: defaultdict[str, float] = defaultdict(float)
    for outcome in outcomes:
        tenant = outcome.job.task.lane.tenant
        asked[tenant] += outcome.job.service_us
        if outcome.ended_us is not None and outcome.ended_us <= horizon_us:
            given[tenant] += outcome.job.service_us
    due = fair_shares(asked, {tenant: weights(tenant) for tenant in asked}, sum(given.values()))
    return jain([given[tenant] / due[tenant] for tenant in asked if due[tenant] > 0])


def fair_shares(asked: Mapping[str, float], weights: Mapping[str, float], capacity: float) -> dict[str, float]:
    """Max-min fair shares of a capacity: by weight, none above what was asked for; what one leaves, the others get."""
    shares: dict[str, float] = {}
    left = dict(asked)
    while left:
        level = capacity / sum(weights[name] for name in left)
        content = [name for name, amount in left.items() if amount <= level * weights[name]]
        if not content:
            return shares | {name: level * weights[name] for name in left}
        for name in content:
            shares[name] = left.pop(name)
            capacity -= shares[name]
    return shares
