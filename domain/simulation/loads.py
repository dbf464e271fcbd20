"""Made-up loads: arrivals that are even or come in bursts, service times with heavy tails, tenants of different sizes.

All chance comes from the generator passed in: the same seed gives the same load.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from domain.simulation.jobs import MICROSECONDS, Job, Stay
from domain.strategies.strategy import Lane, Waiting

#: Shape of the Pareto distribution: its mean exists, its variance does not.
PARETO_SHAPE = 1.5
#: No task takes longer than so many times the mean: a simulation must end.
SERVICE_MAX_OF_MEAN = 1000.0
#: Spread of the logarithm of service times; 1.5 makes the 99th percentile about ten times the mean.
LOGNORMAL_SIGMA = 1.5
#: In a burst tasks arrive so many times as often as on average.
BURST_FACTOR = 5.0
#: Arrivals of a burst on average.
BURST_LENGTH = 50


@dataclass(frozen=True, slots=True)
class TenantLoad:
    """One of those that share the slots."""

    name: str
    #: Of all arrivals, relative to the other tenants'.
    share: float = 1.0
    weight: float = 1.0
    #: Its tasks take so many times as long as the mean.
    size: float = 1.0
    #: Its senders estimate so many times what a task takes; None: they give no estimate.
    estimate_factor: float | None = None


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """What a load is like."""

    tasks: int
    slots: int
    #: Work that arrives for each second and slot: above 1 the queue grows.
    utilisation: float
    mean_service_seconds: float = 1.0
    #: `poisson` or `bursty`.
    arrivals: str = "poisson"
    #: `exponential`, `lognormal` or `pareto`.
    service: str = "exponential"
    tenants: tuple[TenantLoad, ...] = (TenantLoad("tenant-a"),)
    #: Shares of the priorities low, normal and high.
    priorities: tuple[float, float, float] = (1.0, 1.0, 1.0)
    #: Of all tasks, the share with a deadline.
    deadlines: float = 0.0
    #: A deadline is so many mean service times away, on average.
    slack_of_mean: float = 20.0
    #: Of all tasks, the share that gives its slot back when asked.
    preemptible: float = 0.0


def make_load(spec: LoadSpec, random: Random) -> list[Job]:
    """The tasks, in the order of their arrival, from moment 0 on."""
    service = _service(spec, random)
    mean_size = sum(each.size * each.share for each in spec.tenants) / sum(each.share for each in spec.tenants)
    interval = spec.mean_service_seconds * mean_size / (spec.utilisation * spec.slots)
    gaps = _bursty(interval, random) if spec.arrivals == "bursty" else _poisson(interval, random)
    jobs: list[Job] = []
    at = 0.0
    for number in range(spec.tasks):
        at += next(gaps)
        jobs.append(_job(spec, number, at, service(), random))
    return jobs


def _job(spec: LoadSpec, number: int, at: float, mean_seconds: float, random: Random) -> Job:
    tenant = random.choices(spec.tenants, [each.share for each in spec.tenants])[0]
    seconds = mean_seconds * tenant.size
    slack = random.expovariate(1.0) * spec.slack_of_mean * spec.mean_service_seconds
    accepted_ms = int(at * 1000)
    task = Waiting(
        task_id=f"job-{number}",
        lane=Lane(model=None, provider=None, task_type=f"type-of-{tenant.name}", tenant=tenant.name),
        priority=random.choices((1, 2, 3), spec.priorities)[0],
        accepted_ms=accepted_ms,
        tie=(0, number),
        estimate_seconds=None if tenant.estimate_factor is None else seconds * tenant.estimate_factor,
        cost=seconds * (tenant.estimate_factor or 1.0) * 1000.0,
        deadline_ms=accepted_ms + max(1, int(slack * 1000)) if random.random() < spec.deadlines else None,
    )
    return Job(
        task,
        arrives_us=int(at * MICROSECONDS),
        stays=(Stay(max(1, int(seconds * MICROSECONDS)), tokens=seconds * 1000.0),),
        preemptible=random.random() < spec.preemptible,
    )


def _poisson(interval: float, random: Random) -> Iterator[float]:
    while True:
        yield random.expovariate(1.0 / interval)


def _bursty(interval: float, random: Random) -> Iterator[float]:
    """Bursts of arrivals, with silences between them that make up for it."""
    while True:
        arrivals = max(1, round(random.expovariate(1.0 / BURST_LENGTH)))
        silence = arrivals * interval * (1.0 - 1.0 / BURST_FACTOR)
        yield random.expovariate(1.0 / silence) + random.expovariate(BURST_FACTOR / interval)
        for _ in range(arrivals - 1):
            yield random.expovariate(BURST_FACTOR / interval)


def _service(spec: LoadSpec, random: Random) -> Callable[[], float]:
    return lambda: min(_draw(spec, random), spec.mean_service_seconds * SERVICE_MAX_OF_MEAN)


def _draw(spec: LoadSpec, random: Random) -> float:
    mean = spec.mean_service_seconds
    match spec.service:
        case "lognormal":
            return random.lognormvariate(math.log(mean) - LOGNORMAL_SIGMA**2 / 2, LOGNORMAL_SIGMA)
        case "pareto":
            return mean * (PARETO_SHAPE - 1) / PARETO_SHAPE * random.paretovariate(PARETO_SHAPE)
        case _:
            return random.expovariate(1.0 / mean)
