"""The bound of a limit, counted from outside, whatever becomes of messages, processes and clocks."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.limits.limit import Limit
from tests.support.lease_world import RATES, TERMS, World

PROCESSES = 3
processes = st.integers(0, PROCESSES - 1)
clocks = st.lists(st.tuples(st.floats(-1e6, 1e6), st.sampled_from(RATES)), min_size=PROCESSES, max_size=PROCESSES)
steps = st.one_of(
    st.tuples(
        st.sampled_from(["start", "start", "exchange", "end", "send", "answer", "kill", "freeze", "thaw"]), processes
    ),
    st.tuples(st.sampled_from(["arrive", "lose"]), st.integers(0, 5)),
    st.tuples(st.just("pass_time"), st.sampled_from([0.1, 0.9, 2.0, TERMS.lease_seconds + 0.1])),
)


@given(st.integers(0, 4), clocks, st.lists(steps, max_size=120))
@settings(max_examples=300, deadline=None)
def test_no_interleaving_runs_more_attempts_than_the_limit(
    limit: int, skewed: list[tuple[float, float]], script: list[tuple[str, float]]
) -> None:
    world = World(Limit(concurrency=limit), PROCESSES, clocks=skewed)
    for name, argument in script:
        getattr(world, name)(argument)
        assert world.running <= limit, f"{world.running} run after {name}"


@given(clocks, st.lists(steps, max_size=120), st.lists(st.floats(0, 150), min_size=1, max_size=10))
@settings(max_examples=200, deadline=None)
def test_no_interleaving_spends_more_than_a_bucket_holds_and_refills(
    skewed: list[tuple[float, float]], script: list[tuple[str, float]], costs: list[float]
) -> None:
    """In any t seconds at most the limit, and what a steady flow of the limit brings in t."""
    per_minute = 100.0
    world = World(Limit(tokens_per_minute=per_minute), PROCESSES, clocks=skewed)
    for number, (name, argument) in enumerate(script):
        if name == "start":
            world.start(int(argument), min(costs[number % len(costs)], per_minute))
        else:
            getattr(world, name)(argument)
    assert_within(world.spent, per_minute)


def assert_within(spent: Iterable[tuple[float, float]], per_minute: float) -> None:
    moments = list(spent)
    for first in range(len(moments)):
        total = 0.0
        for at, amount in moments[first:]:
            total += amount
            assert total <= per_minute * (1 + (at - moments[first][0]) / 60) + 1e-3


@given(st.integers(1, 5), st.integers(2, 5), st.integers(0, 2**16))
@settings(max_examples=100, deadline=None)
def test_each_of_several_that_always_want_gets_its_turn(limit: int, number: int, seed: int) -> None:
    """Also where the limit is smaller than their number: whoever waited longest comes before all who were served."""
    world = World(Limit(concurrency=limit), number, slots=4, clocks=[(0.0, 1.0)])
    served: list[list[float]] = [[] for _ in range(number)]
    for step in range(600):
        index = (step * 7 + seed) % number
        world.end(index)
        if world.start(index):
            served[index].append(world.now)
        world.exchange(index)
        if step % number == 0:
            world.pass_time(0.25)
    longest = 2.0 * number * TERMS.turn_seconds + 2
    for moments in served:
        for before, after in pairwise([1000.0, *moments, world.now]):
            assert after - before <= longest


def test_a_lone_holder_gets_all_that_it_wants_in_a_few_round_trips() -> None:
    world = World(Limit(concurrency=16), 2, slots=16, clocks=[(0.0, 1.0)])
    start_all(world, 0, exchanges=5)
    assert world.running == 16


def start_all(world: World, index: int, *, exchanges: int = 3) -> None:
    """A process with more work than it may do."""
    for _ in range(exchanges):
        while world.start(index):
            pass
        world.exchange(index)
    while world.start(index):
        pass


def test_what_a_killed_process_had_is_there_for_others_after_its_lease() -> None:
    world = World(Limit(concurrency=2), 2, clocks=[(0.0, 1.0)])
    start_all(world, 0)
    assert world.running == 2
    world.kill(0)
    world.start(1)
    world.exchange(1)
    assert not world.start(1)
    world.pass_time(TERMS.lease_seconds + 0.1)
    world.exchange(1)
    assert world.start(1)


def test_a_process_that_was_frozen_starts_nothing_by_a_lease_that_ended_meanwhile() -> None:
    world = World(Limit(concurrency=1), 2, clocks=[(0.0, 1.0)])
    world.start(0)
    world.exchange(0)
    world.freeze(0)
    world.pass_time(TERMS.lease_seconds + 0.1)
    start_all(world, 1)
    assert world.running == 1
    world.thaw(0)
    assert not world.start(0)
    world.exchange(0)
    assert not world.start(0)


def test_idle_permits_go_to_who_wants_them_at_the_next_word() -> None:
    world = World(Limit(concurrency=2), 2, clocks=[(0.0, 1.0)])
    start_all(world, 0)
    world.end(0)
    world.end(0)
    world.start(1)
    world.exchange(1)  # it says that it is hungry
    world.exchange(0)  # the other hears it
    world.exchange(0)  # and gives back
    world.exchange(1)
    assert world.start(1)


@pytest.mark.parametrize("cost", [90.0, 100.0, 1000.0])
def test_a_large_call_is_not_starved_by_small_ones(cost: float) -> None:
    """A call that costs more than a minute has goes when the bucket is full."""
    world = World(Limit(tokens_per_minute=100.0), 2, clocks=[(0.0, 1.0)])
    started = False
    for _ in range(600):
        while world.start(1, 5.0):
            world.end(1)
        world.exchange(1)
        started = started or world.start(0, cost)
        world.exchange(0)
        world.pass_time(0.25)
    assert started


def test_what_was_reserved_and_not_used_is_there_for_others_at_once() -> None:
    world = World(Limit(tokens_per_minute=100.0), 2, clocks=[(0.0, 1.0)])
    assert not world.start(0, 100.0)
    world.exchange(0)
    assert world.start(0, 100.0)
    assert not world.start(1, 90.0)
    world.exchange(1)
    assert not world.start(1, 90.0)
    world.end(0, tokens=5.0)
    world.exchange(0)
    world.exchange(1)
    assert world.start(1, 90.0)
