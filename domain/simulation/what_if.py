"""What another strategy would have done with a recorded load, set beside what was done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from domain.priority import Priority
from domain.simulation.concurrency import Concurrency, LimitKey
from domain.simulation.jobs import MICROSECONDS, Job, Outcome
from domain.simulation.metrics import Waits, waits_of
from domain.simulation.recording import Visit
from domain.simulation.replaying import MakeStrategy, Replayed, as_jobs, replay, slots_seen
from domain.simulation.simulator import simulate
from domain.strategies.strategy import Waiting

#: Task and wait in seconds until its first start.
TaskWaits = list[tuple[Waiting, float]]
#: Makes strategies for one worker, which share what they learn.
MakeMaker = Callable[[], MakeStrategy]


@dataclass(frozen=True, slots=True)
class Row:
    """One group of tasks, and how it waited each time."""

    group: str
    waits: tuple[Waits, ...]


def recorded_waits(visits: Iterable[Visit]) -> TaskWaits:
    """How long tasks waited for their first start, of those whose attempt has ended."""
    found: dict[tuple[str, int], tuple[Waiting, float]] = {}
    for visit in visits:
        key = (visit.task.task_id, visit.run)
        if key not in found and visit.started_us is not None and visit.ended_us is not None:
            found[key] = (visit.task, (visit.started_us - visit.arrives_us) / MICROSECONDS)
    return list(found.values())


def simulated_waits(outcomes: Iterable[Outcome]) -> TaskWaits:
    """How long tasks waited for their first start; what expired has none."""
    return [(each.job.task, each.waited_us / MICROSECONDS) for each in outcomes if each.waited_us is not None]


def rows(columns: list[TaskWaits]) -> list[Row]:
    """All tasks, and then each tenant's and each priority's, with a column for each list of waits."""
    tenants = sorted({task.lane.tenant for column in columns for task, _ in column})
    priorities = sorted({task.priority for column in columns for task, _ in column}, reverse=True)
    groups: list[tuple[str, Callable[[Waiting], bool]]] = [("all", lambda task: True)]
    groups += [(f"tenant {name}", _of_tenant(name)) for name in tenants]
    groups += [(f"priority {Priority(level).band}", _of_priority(level)) for level in priorities]
    return [
        Row(name, tuple(waits_of(seconds for task, seconds in column if belongs(task)) for column in columns))
        for name, belongs in groups
    ]


def _of_tenant(name: str) -> Callable[[Waiting], bool]:
    return lambda task: task.lane.tenant == name


def _of_priority(level: int) -> Callable[[Waiting], bool]:
    return lambda task: task.priority == level


def replay_all(workers: Mapping[str, list[Visit]], makers: MakeMaker) -> Replayed:
    """The recorded decisions of all workers, once more."""
    found = Replayed()
    for visits in workers.values():
        found.add(replay(visits, makers()))
    return found


def model_all(
    workers: Mapping[str, list[Visit]],
    makers: MakeMaker,
    name: str | None,
    slots: int | None,
    limits: Mapping[LimitKey, int],
) -> list[Outcome]:
    """What the strategy does with the load of each worker; by default the one that most starts name.

    `slots` a worker; by default as many as it was seen to use.
    """
    outcomes: list[Outcome] = []
    for visits in workers.values():
        strategy = makers()(name or main_strategy(visits))
        used = slots or max(1, slots_seen(visits))
        outcomes += simulate(as_jobs(visits), strategy, used, limits=Concurrency(limits)).outcomes
    return outcomes


def main_strategy(visits: Iterable[Visit]) -> str:
    """The strategy that most starts name; `priority` where none does, which older workers used."""
    names = [visit.strategy for visit in visits if visit.strategy is not None]
    return max(sorted(set(names)), key=names.count, default="priority")


def model_file(
    jobs: Iterable[Job], make: MakeStrategy, name: str, slots: int, limits: Mapping[LimitKey, int]
) -> list[Outcome]:
    """What the strategy does with a load of a file."""
    return simulate(jobs, make(name), slots, limits=Concurrency(limits)).outcomes
