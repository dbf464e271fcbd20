"""The simulator against loads whose outcome can be worked out by hand, and against queueing theory."""

from random import Random
from typing import Any

import pytest

from domain.simulation.concurrency import Concurrency
from domain.simulation.jobs import MICROSECONDS, Job, Stay
from domain.simulation.loads import LoadSpec, TenantLoad, make_load
from domain.simulation.metrics import figures_of
from domain.simulation.simulator import simulate
from domain.strategies.choice import NAMES
from tests.support.strategies import lane, strategy_of, waiting


def job(number: int, arrives: float, *seconds: float, priority: int = 2, **changes: Any) -> Job:
    """A task that arrives at that second, with one attempt of each length."""
    preemptible = changes.pop("preemptible", False)
    delay_us = int(MICROSECONDS * changes.pop("delay", 0))
    task = waiting(number, priority, accepted_ms=int(arrives * 1000), **changes)
    stays = tuple(Stay(int(s * MICROSECONDS), delay_us=delay_us if turn else 0) for turn, s in enumerate(seconds))
    return Job(task, int(arrives * MICROSECONDS), stays, preemptible)


def starts(name: str, jobs: list[Job], slots: int = 1, **options: Any) -> list[tuple[float, str]]:
    """Second and task of each start."""
    found = simulate(jobs, strategy_of(name, **options), slots)
    return [(at / MICROSECONDS, task_id) for at, task_id in found.starts]


def test_a_slot_is_taken_the_moment_it_is_free() -> None:
    jobs = [job(0, 0, 2), job(1, 0, 1), job(2, 1, 1)]
    assert starts("fifo", jobs) == [(0, "t-0"), (2, "t-1"), (3, "t-2")]
    assert starts("fifo", jobs, slots=2) == [(0, "t-0"), (0, "t-1"), (1, "t-2")]


def test_what_arrives_at_the_moment_of_an_end_takes_part_in_the_choice() -> None:
    jobs = [job(0, 0, 2), job(1, 0, 1, priority=1), job(2, 2, 1, priority=3)]
    assert starts("priority", jobs) == [(0, "t-0"), (2, "t-2"), (3, "t-1")]


def test_turns_are_given_back_and_taken_up_where_they_were_left() -> None:
    jobs = [job(0, 0, 5, preemptible=True), job(1, 0, 5, preemptible=True)]
    found = simulate(jobs, strategy_of("round_robin", time_slice_seconds=2.0), 1)
    assert [task_id for _, task_id in found.starts] == ["t-0", "t-1", "t-0", "t-1", "t-0", "t-1"]
    assert {outcome.job.task.task_id: outcome.ended_us for outcome in found.outcomes} == {
        "t-0": 9 * MICROSECONDS,
        "t-1": 10 * MICROSECONDS,
    }


def test_a_task_of_low_priority_makes_room_at_its_next_checkpoint() -> None:
    jobs = [job(0, 0, 10, priority=1, preemptible=True), job(1, 2.5, 1, priority=3)]
    assert starts("preemptive", jobs) == [(0, "t-0"), (3, "t-1"), (4, "t-0")]


def test_a_failed_attempt_waits_for_its_back_off() -> None:
    assert starts("fifo", [job(0, 0, 1, 1, delay=5), job(1, 0, 2)]) == [(0, "t-0"), (1, "t-1"), (6, "t-0")]


def test_an_expired_task_never_starts() -> None:
    jobs = [job(0, 0, 5), job(1, 1, 1, deadline_ms=3000)]
    found = simulate(jobs, strategy_of("deadline"), 1)
    assert [task_id for _, task_id in found.starts] == ["t-0"]
    assert {outcome.job.task.task_id: outcome.started_us for outcome in found.outcomes} == {"t-0": 0, "t-1": None}
    assert figures_of(found.outcomes).deadline_misses == 1.0


def test_a_limit_holds_and_holds_up_nobody_else() -> None:
    one, other = lane(1), lane(2)
    jobs = [job(0, 0, 4, lane=one), job(1, 0, 4, lane=one), job(2, 0, 1, lane=other), job(3, 1, 1, lane=other)]
    found = simulate(jobs, strategy_of("fifo"), 2, limits=Concurrency({("model", "model-1"): 1}))
    assert [(at / MICROSECONDS, task) for at, task in found.starts] == [(0, "t-0"), (0, "t-2"), (1, "t-3"), (4, "t-1")]


@pytest.mark.parametrize("name", sorted(NAMES))
def test_nothing_is_lost_and_no_slot_is_idle_while_something_waits(name: str) -> None:
    tenants = (TenantLoad("small"), TenantLoad("large", share=3.0, estimate_factor=20.0))
    spec = LoadSpec(400, 3, 1.2, service="lognormal", arrivals="bursty", tenants=tenants, preemptible=0.5)
    jobs = make_load(spec, Random(7))
    found = simulate(jobs, strategy_of(name), 3)
    assert sorted(outcome.job.task.task_id for outcome in found.outcomes) == sorted(job.task.task_id for job in jobs)
    work = sum(job.service_us for job in jobs)
    end = max(outcome.ended_us or 0 for outcome in found.outcomes)
    longest = max(job.service_us for job in jobs)
    assert end <= max(job.arrives_us for job in jobs) + work / 3 + longest


def test_the_mean_wait_is_what_queueing_theory_says() -> None:
    """M/M/1 at 70 % load: the mean wait is rho / (1 - rho) service times (Pollaczek-Khinchine)."""
    jobs = make_load(LoadSpec(tasks=40_000, slots=1, utilisation=0.7), Random(11))
    waits = figures_of(simulate(jobs, strategy_of("fifo"), 1).outcomes).waits
    assert waits.mean_seconds == pytest.approx(0.7 / 0.3, rel=0.1)


def test_the_same_seed_gives_the_same_run() -> None:
    spec = LoadSpec(300, 2, 1.0, service="pareto", tenants=(TenantLoad("a"), TenantLoad("b", weight=2.0)))
    runs = [simulate(make_load(spec, Random(3)), strategy_of("fair"), 2).starts for _ in range(2)]
    assert runs[0] == runs[1]


def test_the_shortest_first_has_the_shortest_mean_wait() -> None:
    spec = LoadSpec(2000, 2, 0.95, service="lognormal", tenants=(TenantLoad("a", estimate_factor=1.0),))
    jobs = make_load(spec, Random(5))
    means = {
        name: figures_of(simulate(jobs, strategy_of(name), 2).outcomes).waits.mean_seconds
        for name in ("fifo", "shortest_job_first")
    }
    assert means["shortest_job_first"] < 0.7 * means["fifo"]
