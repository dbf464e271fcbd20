"""Balancing: fair shares, no call to an instance that is down, and probes that become rarer."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.balancing import Balancer
from schemas.models import HealthCheck

HEALTH = HealthCheck(failures_max=2, interval_seconds=2, interval_seconds_max=10)
WEIGHTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9), min_size=1)


def served(balancer: Balancer, calls: int) -> list[str]:
    names = []
    for _ in range(calls):
        name = balancer.take()
        assert name is not None
        balancer.release(name)
        names.append(name)
    return names


@given(WEIGHTS, st.integers(1, 5))
def test_round_robin_gives_each_the_same(weights: dict[str, int], rounds: int) -> None:
    counts = Counter(served(Balancer(weights, "round_robin", HEALTH), rounds * len(weights)))
    assert set(counts.values()) == {rounds}


@given(WEIGHTS, st.integers(1, 5))
def test_weighted_round_robin_gives_each_its_weight_in_every_cycle(weights: dict[str, int], cycles: int) -> None:
    balancer = Balancer(weights, "weighted_round_robin", HEALTH)
    for _ in range(cycles):
        assert Counter(served(balancer, sum(weights.values()))) == weights


def test_weighted_round_robin_is_smooth() -> None:
    assert "".join(served(Balancer({"a": 5, "b": 1, "c": 1}, "weighted_round_robin", HEALTH), 7)) == "aabacaa"


@given(WEIGHTS, st.lists(st.booleans(), max_size=60))
def test_least_connections_never_leaves_an_instance_behind(weights: dict[str, int], taking: list[bool]) -> None:
    balancer = Balancer(dict.fromkeys(weights, 1), "least_connections", HEALTH)
    running: list[str] = []
    for take in taking:
        if take or not running:
            least = min(balancer.connections().values())
            name = balancer.take()
            assert name is not None
            assert balancer.connections()[name] == least + 1
            running.append(name)
        else:
            balancer.release(running.pop(0))
    assert Counter(running) == {name: count for name, count in balancer.connections().items() if count}


def test_least_connections_heeds_weights_and_goes_in_turn_when_idle() -> None:
    balancer = Balancer({"big": 2, "small": 1}, "least_connections", HEALTH)
    taken = [balancer.take() for _ in range(6)]
    assert Counter(taken) == {"big": 4, "small": 2}
    assert set(served(Balancer({"a": 1, "b": 1}, "least_connections", HEALTH), 2)) == {"a", "b"}


@pytest.mark.parametrize("policy", ["round_robin", "weighted_round_robin", "least_connections"])
def test_an_instance_that_is_down_is_skipped_until_a_probe_succeeds(policy: str) -> None:
    balancer = Balancer({"a": 3, "b": 1}, policy, HEALTH)  # type: ignore[arg-type]  # the parametrised literals
    balancer.failed("a", 0.0)
    assert "a" in served(balancer, 4), "one failure is no outage"
    balancer.failed("a", 1.0)
    assert set(served(balancer, 10)) == {"b"}
    assert balancer.due(2.9) == []
    assert balancer.due(3.0) == ["a"]
    balancer.probed("a", True, 3.0)
    assert "a" in served(balancer, 4)


def test_a_success_in_between_forgives_failures() -> None:
    balancer = Balancer({"a": 1}, "round_robin", HEALTH)
    for now in range(5):
        balancer.failed("a", float(now))
        balancer.succeeded("a")
    assert balancer.well() == ["a"]


def test_probes_become_rarer_up_to_a_limit() -> None:
    balancer = Balancer({"a": 1}, "round_robin", HEALTH)
    balancer.failed("a", 0.0)
    balancer.failed("a", 0.0)
    waits, now = [], 0.0
    for _ in range(5):
        due = balancer.next_probe_at()
        assert due is not None
        waits.append(due - now)
        now = due
        balancer.probed("a", False, now)
    assert waits == [2, 4, 8, 10, 10]


def test_nobody_is_taken_when_all_are_down_or_tried() -> None:
    balancer = Balancer({"a": 1, "b": 1}, "round_robin", HEALTH)
    assert balancer.take(without={"a", "b"}) is None
    for name in ("a", "b"):
        balancer.failed(name, 0.0)
        balancer.failed(name, 0.0)
    assert balancer.take() is None


def test_failures_of_one_that_is_out_do_not_put_off_its_probe() -> None:
    balancer = Balancer({"a": 1}, "round_robin", HEALTH)
    for now in (0.0, 0.0, 1.5):
        balancer.failed("a", now)
    assert balancer.next_probe_at() == 2.0
