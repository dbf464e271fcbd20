"""A recording under the strategy that made it, and under another one."""

from collections.abc import Callable
from random import Random
from typing import Any, cast

import pytest

from domain.simulation.concurrency import Concurrency
from domain.simulation.jobs import Job
from domain.simulation.loads import LoadSpec, TenantLoad, make_load
from domain.simulation.recording import Visit, recorded_visits
from domain.simulation.replaying import as_jobs, by_worker, replay, slots_seen
from domain.simulation.simulator import Simulated, simulate
from domain.strategies.choice import NAMES
from domain.strategies.strategy import Refuser, Strategy, Waiting
from schemas.events import TaskSubmitted
from tests.support.recorded import facts_of, submission_of
from tests.support.strategies import strategy_of

TENANTS = (TenantLoad("a"), TenantLoad("b", share=3.0, size=0.3, estimate_factor=2.0), TenantLoad("c", size=4.0))


def make(name: str) -> Strategy:
    """With options small enough that ageing and slices take part."""
    return strategy_of(name, ageing_seconds=8.0, ageing_every=3, time_slice_seconds=1.5)


def cost_of(submission: TaskSubmitted) -> float:
    """As the made-up log says it."""
    return float(submission.metadata)


def recorded(jobs: list[Job], found: Simulated, name: str, worker: str = "host/1") -> list[Visit]:
    records = [submission_of(job) for job in jobs] + facts_of(jobs, found, lambda at_us: name, worker)
    return recorded_visits(records, cost_of, preemptible=lambda task_type: False)


def load(seed: int = 4, preemptible: float = 0.0, tasks: int = 400) -> list[Job]:
    spec = LoadSpec(
        tasks, 3, 1.1, service="lognormal", arrivals="bursty", tenants=TENANTS, deadlines=0.3, preemptible=preemptible
    )
    return make_load(spec, Random(seed))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_recorded_strategy_reproduces_the_recorded_order_exactly(name: str) -> None:
    jobs = load(preemptible=0.5 if name in ("round_robin", "preemptive") else 0.0)
    found = simulate(jobs, make(name), 3)
    replayed = replay(recorded(jobs, found, name), make)
    assert (replayed.exact, replayed.behind_limits, replayed.different) == (len(found.starts), 0, [])


@pytest.mark.parametrize("other", sorted(set(NAMES) - {"fifo", "round_robin"}))
def test_another_strategy_does_not(other: str) -> None:
    """So the agreement above says something. Round robin without given turns is first come, first served."""
    jobs = load()
    found = simulate(jobs, make("fifo"), 3)
    visits = recorded(jobs, found, "fifo")
    replayed = replay(visits, make, strategy=other)
    assert replayed.starts == len(found.starts)
    assert replayed.exact < 0.95 * replayed.starts
    assert replay(visits, make).exact == len(found.starts)


def test_starts_that_limits_forced_are_told_apart() -> None:
    jobs = load()
    found = simulate(jobs, make("priority"), 3, limits=Concurrency({("tenant", "b"): 1}))
    replayed = replay(recorded(jobs, found, "priority"), make)
    assert replayed.different == []
    assert replayed.behind_limits > 0
    assert replayed.starts == len(found.starts)


class Switching:
    """Priority up to a moment, and fair from then on."""

    def __init__(self, at_ms: int) -> None:
        self._at_ms, self._switched = at_ms, False
        self._now = make("priority")

    def name_at(self, at_us: int) -> str:
        """Which one was at work."""
        return "fair" if at_us // 1000 >= self._at_ms else "priority"

    def pop(self, now_ms: int, refuser: Callable[[Waiting], Refuser | None]) -> Waiting | None:
        if now_ms >= self._at_ms and not self._switched:
            self._switched = True
            old, self._now = self._now, make("fair")
            for task in old.waiting():
                self._now.push(task, now_ms)
        return self._now.pop(now_ms, refuser)

    def __len__(self) -> int:
        return len(self._now)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._now, name)


def test_a_switch_in_the_middle_is_followed() -> None:
    jobs = load()
    strategy = Switching(at_ms=jobs[200].task.accepted_ms)
    found = simulate(jobs, cast("Strategy", strategy), 3)
    visits = recorded_visits(
        [*map(submission_of, jobs), *facts_of(jobs, found, strategy.name_at)], cost_of, lambda task_type: False
    )
    assert {visit.strategy for visit in visits if visit.strategy} == {"priority", "fair"}
    replayed = replay(visits, make)
    assert (replayed.exact, replayed.different) == (len(found.starts), [])
    assert replay(visits, make, strategy="priority").different


def test_a_recording_is_the_load_that_it_was_made_from() -> None:
    jobs = [job for job in load(preemptible=0.5) if job.task.deadline_ms is None]
    found = simulate(jobs, make("round_robin"), 3)
    assert any(turn.end == "yielded" for turn in found.turns)
    again = simulate(as_jobs(recorded(jobs, found, "round_robin")), make("fifo"), 3)
    assert again.starts == simulate(jobs, make("fifo"), 3).starts


def test_each_worker_is_replayed_alone() -> None:
    jobs = load(tasks=200)
    halves = [jobs[::2], jobs[1::2]]
    visits: list[Visit] = []
    for number, half in enumerate(halves):
        visits += recorded(half, simulate(half, make("priority"), 2), "priority", f"host/{number}")
    workers = by_worker(visits)
    assert sorted(workers) == ["host/0", "host/1"]
    assert [replay(mine, make).different for mine in workers.values()] == [[], []]
    assert [slots_seen(mine) for mine in workers.values()] == [2, 2]
