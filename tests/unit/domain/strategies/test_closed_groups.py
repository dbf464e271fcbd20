"""Lanes that one limit closed are opened together, and what starts then is what a scan of all that waits would find."""

import math
from collections.abc import Callable
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.strategies import fair
from domain.strategies.choice import NAMES
from domain.strategies.closures import Closures
from domain.strategies.make import by_deadline, by_priority
from domain.strategies.strategy import Lane, Refuser, Strategy, Usage, Waiting
from tests.support.scanning import Limited, Scanning, ScanningEstimates, ScanningFair
from tests.support.strategies import strategy_of, waiting

every_strategy = pytest.mark.parametrize("name", sorted(NAMES))
WEIGHTS = {"a": 1.0, "b": 2.0, "c": 4.0}
#: Rounds that are remembered here, so that tenants are owed more than that.
OWED = 3

LANES = st.builds(
    lambda model, task_type, tenant: Lane(f"m{model}", f"p{model % 2}", task_type, tenant),
    model=st.integers(0, 3),
    task_type=st.sampled_from(["x", "y"]),
    tenant=st.sampled_from(sorted(WEIGHTS)),
)
LIMITS = st.dictionaries(
    st.sampled_from(
        [
            ("class", "llm"),
            *[("model", f"m{n}") for n in range(4)],
            *[("provider", f"p{n}") for n in range(2)],
            *[("tenant", name) for name in WEIGHTS],
            ("type", "x"),
        ]
    ),
    st.integers(0, 3),
)
TASKS: st.SearchStrategy[dict[str, object]] = st.builds(
    dict,
    lane=LANES,
    priority=st.integers(1, 3),
    estimate_seconds=st.none() | st.integers(0, 20).map(float),
    deadline_ms=st.none() | st.integers(10**6, 10**6 + 5),
    queued_ms=st.integers(0, 40),
    cost=st.integers(1, 400).map(float),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["push", "push", "start", "start", "end", "discard"]), TASKS, st.integers(0, 50)),
    max_size=80,
)


def scanning(name: str) -> Scanning:
    """The same strategy, without ageing."""
    match name:
        case "fifo":
            return Scanning(lambda task: task.arrival)
        case "round_robin":
            return Scanning(lambda task: (task.since_ms, *task.arrival))
        case "shortest_job_first":
            return ScanningEstimates(lambda task: task.arrival)
        case "fair":
            return ScanningFair(by_priority, quantum=100.0, weights=WEIGHTS, owed_max=OWED)
        case "deadline":
            return Scanning(by_deadline)
        case _:
            return Scanning(by_priority)


class Pair:
    """A strategy and the scanning one, under the same limits."""

    def __init__(self, strategy: Strategy, model: Scanning, limits: dict[tuple[str, str], int]) -> None:
        self.strategy, self.model = strategy, model
        self.limited = Limited(limits)
        self.running: list[Waiting] = []
        self._numbers = 0

    def push(self, task: dict[str, object]) -> None:
        """One more task waits."""
        made = waiting(self._numbers, **task)  # type: ignore[arg-type]
        self._numbers += 1
        self.strategy.push(made, 0)
        self.model.push(made)

    def discard(self, pick: int) -> None:
        """One of those that wait goes away."""
        if self.model.waiting:
            task_id = sorted(self.model.waiting)[pick % len(self.model.waiting)]
            self.model.remove(task_id)
            self.strategy.discard(task_id)

    def start(self, now_ms: int = 0) -> Waiting | None:
        """Both say what starts next, and say the same."""
        startable = [task for task in self.model.waiting.values() if self.limited.refuser(task) is None]
        found = self.strategy.pop(now_ms, self.limited.refuser)
        assert found == (self.model.best(startable) if startable else None)
        if found is not None:
            self.model.started(found)
            self.limited.start(found.lane)
            self.running.append(found)
        return found

    def end(self, pick: int) -> None:
        """One of those that run is done: what was full may have room."""
        if self.running:
            task = self.running.pop(pick % len(self.running))
            usage = Usage(seconds=1.0 + pick, tokens=10.0 * pick)
            for refuser in self.limited.end(task.lane):
                self.strategy.reopen(refuser)
            self.strategy.ended(task, usage)
            self.model.ended(task, usage)


@every_strategy
@settings(max_examples=300, deadline=None)
@given(limits=LIMITS, steps=STEPS)
def test_what_starts_is_what_a_scan_of_all_that_waits_finds(
    name: str, limits: dict[tuple[str, str], int], steps: list[tuple[str, dict[str, object], int]]
) -> None:
    with mock.patch.object(fair, "OWED_ROUNDS_MAX", OWED):
        strategy = strategy_of(name, weights=WEIGHTS, quantum=100.0, ageing_seconds=1e9)
        pair = Pair(strategy, scanning(name), limits)
        for step, task, pick in steps:
            match step:
                case "push":
                    pair.push(task)
                case "start":
                    pair.start()
                case "end":
                    pair.end(pick)
                case _:
                    pair.discard(pick)
        while pair.start() is not None or pair.running:
            pair.end(0)
        shut = {key for key, most in limits.items() if not most}
        assert all(Limited(dict.fromkeys(shut, 0)).refuser(task) for task in pair.model.waiting.values())


@pytest.mark.parametrize("name", ["priority", "preemptive", "shortest_job_first", "deadline"])
@settings(max_examples=100, deadline=None)
@given(limits=LIMITS, steps=STEPS)
def test_what_ages_is_the_oldest_that_may_start(
    name: str, limits: dict[tuple[str, str], int], steps: list[tuple[str, dict[str, object], int]]
) -> None:
    strategy = strategy_of(name, ageing_seconds=0.0, ageing_every=1)
    pair = Pair(strategy, Scanning(lambda task: (task.since_ms, *task.arrival)), limits)
    for step, task, pick in steps:
        if step == "push":
            pair.push(task)
        elif step == "end":
            pair.end(pick)
        else:
            pair.start(now_ms=1000)


@pytest.mark.parametrize("name", ["priority", "preemptive", "shortest_job_first", "deadline"])
@settings(max_examples=100, deadline=None)
@given(limits=LIMITS, steps=STEPS, every=st.integers(1, 4))
def test_limits_of_others_delay_nobody_beyond_the_bound(
    name: str, limits: dict[tuple[str, str], int], steps: list[tuple[str, dict[str, object], int]], every: int
) -> None:
    limits.pop(("class", "llm"), None)
    strategy = strategy_of(name, ageing_seconds=0.0, ageing_every=every)
    limited, running, starts = Limited(limits), list[Waiting](), 0
    free = waiting(0, 1, lane=Lane("free", None, "z", "d"), estimate_seconds=1e6)
    strategy.push(free, 0)
    bound = strategy.wait_bound(0)
    assert bound is not None
    for number, (step, task, pick) in enumerate(steps, 1):
        if step == "push":
            strategy.push(waiting(number, **{**task, "queued_ms": 0}), 0)  # type: ignore[arg-type]
        elif step == "end" and running:
            for refuser in limited.end(running.pop(pick % len(running)).lane):
                strategy.reopen(refuser)
        elif step == "start":
            started = strategy.pop(10**5, limited.refuser)
            assert started is not None
            starts += 1
            if started == free:
                assert starts <= bound.starts
                return
            limited.start(started.lane)
            running.append(started)
    assert starts < bound.starts


def test_a_wider_group_is_never_within_a_narrower_one() -> None:
    scopes = ("model", "provider", "type", "tenant", "suspect", "class", "node")
    refusers = [Refuser(cause, scope, name) for cause in "ab" for scope in scopes for name in "nm"]
    for one in refusers:
        assert not one.includes(one)
        for other in refusers:
            assert not (one.includes(other) and other.includes(one))
            for third in refusers:
                if one.includes(other) and other.includes(third) and one.scope != third.scope:
                    assert one.includes(third)


def test_nothing_is_left_of_groups_that_nothing_lies_in() -> None:
    closures = Closures()
    lane = Lane("m", "p", "x", "a")
    for scope in ("tenant", "model", "provider", "class"):
        group, _ = closures.close(Refuser("concurrency", scope, "n"))
        closures.place(lane, group)
    closures.forget(lane)
    assert not closures.groups
    assert not closures._by_refuser


def looks(name: str, lanes: int, lane_of: Callable[[int], Lane], limits: dict[tuple[str, str], int]) -> float:
    """Refused looks for each start, with a task in each of the lanes and one more for each that starts."""
    strategy, limited = strategy_of(name), Limited(limits)
    running: list[Waiting] = []
    starts, numbers = 0, iter(range(10**6))
    for number in range(lanes):
        strategy.push(waiting(next(numbers), lane=lane_of(number)), 0)
    while starts < 500:
        while (task := strategy.pop(0, limited.refuser)) is not None:
            limited.start(task.lane)
            running.append(task)
            strategy.push(waiting(next(numbers), lane=task.lane), 0)
            starts += 1
            if starts == 100:
                # What is met for the first time is refused once in each lane.
                limited.refused = 0
        ended = running.pop(0)
        strategy.ended(ended, Usage(seconds=1.0, tokens=1.0))
        for refuser in limited.end(ended.lane):
            strategy.reopen(refuser)
    return limited.refused / 400


@every_strategy
@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ({("model", "m0"): 3}, 3.0),
        ({("class", "llm"): 5, ("provider", "p"): 4, ("model", "m0"): 2, ("model", "m1"): 3}, 4.0),
        ({("class", "llm"): 5, ("model", "m0"): 3, **{("tenant", f"t{n}"): 2 for n in range(200)}}, 5.0),
    ],
)
def test_a_freed_permit_costs_no_more_looks_the_more_lanes_wait_for_it(
    name: str, limits: dict[tuple[str, str], int], most: float
) -> None:
    def lane_of(number: int) -> Lane:
        return Lane(f"m{number % 2}" if len(limits) > 1 else "m0", "p", "x", f"t{number}")

    found = [looks(name, lanes, lane_of, limits) for lanes in (20, 200)]
    assert max(found) < most
    assert math.isclose(found[0], found[1], abs_tol=1.0)
