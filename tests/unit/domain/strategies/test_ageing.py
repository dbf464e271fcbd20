"""The published bound on every wait, against an adversary, in numbers of starts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.strategies.ageing import ageing_bound
from domain.strategies.strategy import Lane, Strategy, WaitBound, Waiting
from tests.support.strategies import LANE, anything, lane, strategy_of, waiting, where

AGED = ("priority", "preemptive", "shortest_job_first", "deadline")


def lazy(number: int, which: Lane = LANE) -> Waiting:
    """A task that every order with ageing puts after the others."""
    return waiting(number, 1, estimate_seconds=1e6, lane=which)


def urgent(number: int, now_ms: int) -> Waiting:
    """A task that every order with ageing puts before the others."""
    return waiting(
        number, 3, accepted_ms=now_ms, estimate_seconds=0.0, deadline_ms=now_ms + 10**6, lane=lane(number % 5)
    )


def starts_until(strategy: Strategy, task_id: str, arrivals: list[int], step_ms: int, now_ms: int) -> int:
    """Starts, the task's own included, while so many urgent ones arrive before each; the last number repeats."""
    starts = 0
    while True:
        for extra in range(arrivals[min(starts, len(arrivals) - 1)]):
            strategy.push(urgent(10_000 + starts * 10 + extra, now_ms), now_ms)
        started = strategy.pop(now_ms, anything)
        assert started is not None
        starts += 1
        if started.task_id == task_id:
            return starts
        now_ms += step_ms


@pytest.mark.parametrize("name", AGED)
@given(
    older=st.integers(0, 12),
    every=st.integers(1, 6),
    backlog=st.integers(0, 10),
    arrivals=st.lists(st.integers(0, 4), min_size=1, max_size=40),
    step_ms=st.integers(0, 1000),
)
def test_no_adversary_makes_a_task_wait_beyond_its_bound(
    name: str, older: int, every: int, backlog: int, arrivals: list[int], step_ms: int
) -> None:
    strategy = strategy_of(name, ageing_seconds=5.0, ageing_every=every)
    for number in range(older):
        strategy.push(lazy(number, lane(number % 3)), 0)
    strategy.push(lazy(older), older)
    for number in range(backlog):
        strategy.push(urgent(1000 + number, older + 1), older + 1)
    bound = strategy.wait_bound(older)
    assert bound is not None
    assert bound.after_seconds == 5.0
    aged_at_ms = older + 5000
    assert starts_until(strategy, f"t-{older}", arrivals, step_ms, aged_at_ms) <= bound.starts


@pytest.mark.parametrize("name", AGED)
def test_the_bound_is_reached_so_it_promises_no_more_than_it_must(name: str) -> None:
    strategy = strategy_of(name, ageing_seconds=5.0, ageing_every=4)
    for number in range(3):
        strategy.push(lazy(number), 0)
    # The longest-waiting task was just served when the count begins.
    assert strategy.pop(0, anything) == lazy(0)
    bound = strategy.wait_bound(older=1)
    assert bound == WaitBound(5.0, 8)
    assert starts_until(strategy, "t-2", [1], step_ms=0, now_ms=10_000) == 8


@pytest.mark.parametrize("name", AGED)
@given(every=st.integers(2, 6), arrivals=st.lists(st.integers(1, 3), min_size=30, max_size=30))
def test_urgent_tasks_keep_their_share_whatever_has_aged(name: str, every: int, arrivals: list[int]) -> None:
    strategy = strategy_of(name, ageing_seconds=1.0, ageing_every=every)
    for number in range(100):
        strategy.push(lazy(number), 0)
    by_age = []
    for turn, count in enumerate(arrivals):
        for extra in range(count):
            strategy.push(urgent(1000 + 10 * turn + extra, 100_000 + turn), 100_000 + turn)
        started = strategy.pop(100_000 + turn, anything)
        assert started is not None
        by_age.append(started.priority == 1)
    for first in range(len(by_age) - every + 1):
        assert sum(by_age[first : first + every]) <= 1


@pytest.mark.parametrize("name", AGED)
def test_before_it_has_aged_nothing_overtakes_what_is_urgent(name: str) -> None:
    strategy = strategy_of(name, ageing_seconds=60.0, ageing_every=1)
    strategy.push(lazy(0), 0)
    strategy.push(urgent(1, 0), 0)
    assert strategy.pop(59_999, anything) == urgent(1, 0)
    strategy.push(urgent(1, 0), 0)
    assert strategy.pop(60_000, anything) == lazy(0)


def test_what_waits_in_a_closed_lane_holds_up_nobody_elses_ageing() -> None:
    strategy = strategy_of("priority", ageing_seconds=1.0, ageing_every=2)
    strategy.push(waiting(0, 1, lane=lane(8)), 0)
    strategy.push(waiting(1, 1, lane=lane(9)), 0)

    def admits(task: Waiting) -> bool:
        return task.lane != lane(8)

    started = []
    for turn in range(4):
        strategy.push(urgent(10 + turn, 5000), 5000)
        task = strategy.pop(5000, where(admits))
        assert task is not None
        started.append(task.task_id)
    assert "t-1" in started[:2]


@pytest.mark.parametrize("name", ["fifo", "round_robin"])
@given(older=st.integers(0, 10), arrivals=st.lists(st.integers(0, 3), min_size=1))
def test_where_nobody_is_overtaken_the_bound_is_the_place_in_line(name: str, older: int, arrivals: list[int]) -> None:
    strategy = strategy_of(name)
    for number in range(older + 1):
        strategy.push(lazy(number), 0)
    bound = strategy.wait_bound(older)
    assert bound is not None
    assert starts_until(strategy, f"t-{older}", arrivals, 1, older + 1) == bound.starts


def test_a_bound_in_seconds_is_what_the_starts_take_where_all_slots_are_busy() -> None:
    bound = ageing_bound(after_seconds=60.0, every=5, older=3)
    assert bound.starts == 20
    assert bound.seconds(mean_service_seconds=6.0, slots=4) == 60.0 + 20 * 6.0 / 4
