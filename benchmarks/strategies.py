"""What each strategy does to the same loads: `python -m benchmarks.strategies`, or `make bench-strategies`.

Loads are made up from a fixed seed, and simulated with the very objects that dispatchers run, so that all figures but
the cost of a start are the same on every machine. Writes results.json and the plots of docs/strategies.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import TypedDict

from benchmarks.freed_permits import freed_permit_costs
from benchmarks.strategy_plots import draw
from domain.simulation.jobs import Job
from domain.simulation.loads import LoadSpec, TenantLoad, make_load
from domain.simulation.metrics import Figures, figures_of
from domain.simulation.simulator import simulate
from domain.strategies.choice import NAMES, StrategyChoice
from domain.strategies.estimates import Estimates
from domain.strategies.make import make_strategy
from domain.strategies.strategy import Lane, Refuser, Usage, Waiting

SLOTS = 8
TASKS = 4000
SEED = 20261121
#: As long as tasks of these loads wait: with the default of a minute, ageing would hardly take part.
OPTIONS = {"ageing_seconds": 30.0, "time_slice_seconds": 1.0, "cost": "seconds"}

#: Three that are alike, and one that sends four times as many tasks as each of them.
_PEOPLE = (
    *(TenantLoad(f"small-{n}", estimate_factor=1.0) for n in range(3)),
    TenantLoad("large", 4.0, estimate_factor=1.0),
)
#: One says what its tasks take. The other's take 20 times as long, it denies that, and asks for three times as much.
_CHEAT = (TenantLoad("honest", 20.0, estimate_factor=1.0), TenantLoad("cheat", 3.0, size=20.0, estimate_factor=0.05))

LOADS: dict[str, LoadSpec] = {
    "even arrivals, exponential service, 90 % load": LoadSpec(
        TASKS, SLOTS, 0.9, tenants=_PEOPLE, deadlines=0.3, preemptible=0.5
    ),
    "bursts, lognormal service, 90 % load": LoadSpec(
        TASKS, SLOTS, 0.9, arrivals="bursty", service="lognormal", tenants=_PEOPLE, deadlines=0.3, preemptible=0.5
    ),
    "bursts, Pareto service, 120 % load": LoadSpec(
        TASKS, SLOTS, 1.2, arrivals="bursty", service="pareto", tenants=_PEOPLE, deadlines=0.3, preemptible=0.5
    ),
    "estimates wrong by 20, 120 % load": LoadSpec(TASKS, SLOTS, 1.2, tenants=_CHEAT),
}

#: How many tasks wait while the cost of a start is measured, and in how many lanes, half of which are closed.
QUEUES = (100, 1_000, 10_000, 100_000)
LANES = 400
STARTS = 4_000
#: Starts that are timed together.
SLICE = 200


class Costs(TypedDict):
    """The part of the document that depends on the machine."""

    #: Microseconds of processor time for each start and the arrival that takes its place, by strategy and queue length.
    start_microseconds: dict[str, dict[str, float]]
    #: The same from the end of an attempt to the next start, by strategy and number of lanes behind one limit.
    freed_permit_microseconds: dict[str, dict[str, float]]


class Results(Costs):
    """The document."""

    slots: int
    tasks: int
    seed: int
    options: dict[str, object]
    #: By load and strategy.
    loads: dict[str, dict[str, dict[str, object]]]


def main() -> int:
    """Simulate all loads, measure all costs, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("docs/strategies"), help="the folder to write into")
    parser.add_argument("--tasks", type=int, default=TASKS, help="tasks of each load")
    arguments = parser.parse_args()
    results: Results = {
        "slots": SLOTS,
        "tasks": arguments.tasks,
        "seed": SEED,
        "options": dict(OPTIONS),
        "loads": {name: dict(compared(name, spec, arguments.tasks)) for name, spec in LOADS.items()},
        **costs(),
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    draw(results["loads"], results["start_microseconds"], results["freed_permit_microseconds"], arguments.output)
    return 0


def costs() -> Costs:
    """What starts cost, on this machine."""
    return {
        "start_microseconds": {name: start_costs(name) for name in NAMES},
        "freed_permit_microseconds": {name: permit_costs(name) for name in NAMES},
    }


def compared(load: str, spec: LoadSpec, tasks: int) -> Iterator[tuple[str, dict[str, object]]]:
    """Figures of each strategy over the same load."""
    made = LoadSpec(**{**{name: getattr(spec, name) for name in spec.__slots__}, "tasks": tasks})
    jobs = make_load(made, Random(SEED))
    for name in NAMES:
        say(f"{load}: {name}")
        yield name, _rounded(figures(name, jobs))


def figures(name: str, jobs: list[Job]) -> Figures:
    """One strategy over one load; all tenants have the same weight."""
    strategy = make_strategy(StrategyChoice(name, OPTIONS), Estimates(), lambda tenant: 1.0)
    return figures_of(simulate(jobs, strategy, SLOTS).outcomes)


def start_costs(name: str) -> dict[str, float]:
    """Processor time of a start, with so many tasks waiting."""
    say(f"cost of a start: {name}")
    return {str(queue): round(_start_cost(name, queue), 1) for queue in QUEUES}


def permit_costs(name: str) -> dict[str, float]:
    """Processor time of a start by a permit that came free, with so many lanes behind its limit."""
    say(f"cost of a freed permit: {name}")
    found = freed_permit_costs(name)
    say("  " + ", ".join(f"{lanes} lanes: {microseconds} us" for lanes, microseconds in found.items()))
    return found


def _start_cost(name: str, queue: int) -> float:
    random = Random(SEED)
    strategy = make_strategy(StrategyChoice(name), Estimates(), lambda tenant: 1.0)
    lanes = [Lane(f"model-{n % 20}", None, "chat", f"tenant-{n // 20}") for n in range(LANES)]
    # What arrives takes the place of what started: otherwise the open lanes would run dry.
    tasks = [_waiting(n, random.choice(lanes if n < queue else lanes[1::2]), random) for n in range(queue + STARTS)]
    for task in tasks[:queue]:
        strategy.push(task, 0)
    full = {lane.model: Refuser("concurrency", "model", f"{lane.model}") for lane in lanes[::2]}
    slices = []
    for first in range(queue, queue + STARTS, SLICE):
        begun = time.process_time()
        for arriving in tasks[first : first + SLICE]:
            started = strategy.pop(0, lambda head: full.get(head.lane.model))
            if started is not None:
                strategy.ended(started, Usage(1.0, 100.0))
            strategy.push(arriving, 0)
        slices.append((time.process_time() - begun) / SLICE * 1e6)
    # The least of them: what others do on this machine only adds to it.
    return min(slices)


def _waiting(number: int, lane: Lane, random: Random) -> Waiting:
    return Waiting(
        task_id=f"task-{number}",
        lane=lane,
        priority=random.randint(1, 3),
        accepted_ms=number,
        estimate_seconds=random.choice((None, random.random())),
        cost=random.random() * 2000,
        deadline_ms=random.choice((None, 10**9 + random.randrange(10**6))),
    )


def _rounded(found: Figures) -> dict[str, object]:
    values = asdict(found)
    waits = {name: round(value, 3) for name, value in values.pop("waits").items()}
    return {**waits, **{name: round(value, 4) for name, value in values.items()}}


def say(what: str) -> None:
    """Progress for the person who waits."""
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
