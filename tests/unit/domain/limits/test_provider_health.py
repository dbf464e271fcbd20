"""When a provider is left alone, and for how long."""

from __future__ import annotations

import pytest

from domain.errors import TaskError
from domain.limits.breaker import Circuit
from domain.limits.provider_health import Patience, ProviderHealth
from domain.limits.providers import Providers
from domain.limits.tickets import Refusal, Ticket
from domain.provider_errors import RATE_LIMITED, UNAVAILABLE
from domain.strategies.strategy import Refuser
from tests.support.gates import lane

LANE = lane("acme", provider="kimi")
PATIENCE = Patience(failures_max=3, cool_down_seconds=10.0, cool_down_seconds_max=30.0)


def begun(health: ProviderHealth, now: float) -> Ticket:
    assert health.refusal(now) is None
    ticket = Ticket(LANE, 1.0, now)
    health.take(ticket)
    return ticket


def slow_down(seconds: float | None) -> TaskError:
    return TaskError(RATE_LIMITED, "slow down", retryable=True, retry_after_seconds=seconds)


def broken() -> TaskError:
    return TaskError(UNAVAILABLE, "away", retryable=True)


def failed(health: ProviderHealth, now: float) -> None:
    health.put_back(begun(health, now), broken(), stopped=False, now=now)


@pytest.fixture
def health() -> ProviderHealth:
    return ProviderHealth("kimi", PATIENCE)


def test_nobody_calls_before_the_moment_that_was_asked_for_and_all_may_at_it(health: ProviderHealth) -> None:
    health.put_back(begun(health, 100.0), slow_down(2.5), stopped=False, now=101.0)
    refusal = health.refusal(103.49)
    assert refusal == Refusal("rate_limit", "provider", "kimi", 103.5)
    assert health.reopens_at(103.0) == 103.5
    assert health.reopened(103.49) == []
    assert health.reopened(103.5) == [Refuser("rate_limit", "provider", "kimi")]
    assert health.refusal(103.5) is None


def test_a_shorter_wish_does_not_take_back_a_longer_one(health: ProviderHealth) -> None:
    health.block(110.0, 100.0)
    health.block(105.0, 101.0)
    assert health.blocked_until == 110.0


def test_without_a_moment_waits_double_until_a_call_succeeds(health: ProviderHealth) -> None:
    now, waits = 100.0, []
    for _ in range(4):
        health.put_back(begun(health, now), slow_down(None), stopped=False, now=now)
        waits.append(health.blocked_until - now)
        now = health.blocked_until
    assert waits == [1.0, 2.0, 4.0, 8.0]
    health.put_back(begun(health, now), None, stopped=False, now=now)
    health.put_back(begun(health, now), slow_down(None), stopped=False, now=now)
    assert health.blocked_until - now == 1.0


def test_calls_that_were_under_way_when_it_was_first_refused_say_nothing_new(health: ProviderHealth) -> None:
    under_way = [begun(health, 100.0) for _ in range(5)]
    for ticket in under_way:
        health.put_back(ticket, slow_down(None), stopped=False, now=100.5)
    assert health.blocked_until == 101.5


def test_failures_in_a_row_open_the_circuit_and_a_success_between_them_does_not(health: ProviderHealth) -> None:
    failed(health, 100.0)
    failed(health, 100.0)
    health.put_back(begun(health, 100.0), None, stopped=False, now=100.0)
    failed(health, 100.0)
    failed(health, 100.0)
    assert health.breaker.circuit(100.0) is Circuit.CLOSED
    failed(health, 100.0)
    assert health.breaker.circuit(100.0) is Circuit.OPEN
    assert health.refusal(109.9) == Refusal("backoff", "provider", "kimi", 110.0)


def open_circuit(health: ProviderHealth, now: float) -> None:
    for _ in range(PATIENCE.failures_max):
        failed(health, now)


def test_after_the_cool_down_one_probe_decides(health: ProviderHealth) -> None:
    open_circuit(health, 100.0)
    assert health.breaker.circuit(110.0) is Circuit.HALF_OPEN
    probe = begun(health, 110.0)
    assert health.refusal(110.0) == Refusal("backoff", "provider", "kimi", None)
    assert health.reopened(120.0) == []
    health.put_back(probe, None, stopped=False, now=111.0)
    assert health.breaker.circuit(111.0) is Circuit.CLOSED
    assert health.reopened(111.0) == [Refuser("backoff", "provider", "kimi")]


def test_a_probe_that_fails_doubles_the_cool_down_up_to_its_bound(health: ProviderHealth) -> None:
    open_circuit(health, 100.0)
    now, waits = 110.0, []
    for _ in range(4):
        failed(health, now)
        reopens = health.refusal(now)
        assert reopens is not None
        assert reopens.until is not None
        waits.append(reopens.until - now)
        now = reopens.until
    assert waits == [20.0, 30.0, 30.0, 30.0]


def test_a_probe_that_was_stopped_decides_nothing(health: ProviderHealth) -> None:
    open_circuit(health, 100.0)
    health.put_back(begun(health, 110.0), None, stopped=True, now=111.0)
    assert health.breaker.circuit(111.0) is Circuit.HALF_OPEN
    assert health.refusal(111.0) is None


def test_failures_of_calls_from_before_the_circuit_opened_do_not_reopen_it(health: ProviderHealth) -> None:
    early = [begun(health, 99.0) for _ in range(3)]
    open_circuit(health, 100.0)
    health.put_back(begun(health, 110.0), None, stopped=False, now=110.0)
    for ticket in early:
        health.put_back(ticket, broken(), stopped=False, now=111.0)
    assert health.breaker.circuit(111.0) is Circuit.CLOSED


def test_a_wrong_request_is_no_failure_of_the_provider(health: ProviderHealth) -> None:
    for _ in range(10):
        wrong = TaskError("request_refused", "no such field")
        health.put_back(begun(health, 100.0), wrong, stopped=False, now=100.0)
    assert health.breaker.circuit(100.0) is Circuit.CLOSED


def test_what_one_process_was_told_the_others_hear_once() -> None:
    mine, theirs = Providers(PATIENCE), Providers(PATIENCE)
    health = mine.of(LANE)
    assert health is not None
    health.put_back(begun(health, 100.0), slow_down(5.0), stopped=False, now=100.0)
    untold = mine.untold(101.0)
    assert untold == {"kimi": 4.0}
    mine.told(untold, 101.0)
    assert mine.untold(102.0) == {}
    theirs.hear(untold, 7000.0)
    heard = theirs.of(LANE)
    assert heard is not None
    assert heard.blocked_until == 7004.0
    assert theirs.untold(7000.0) == {}, "whoever heard of it does not tell it on"


def test_a_moment_that_was_moved_while_it_was_told_is_told_again() -> None:
    providers = Providers(PATIENCE)
    health = providers.of(LANE)
    assert health is not None
    health.block(105.0, 100.0)
    untold = providers.untold(100.0)
    health.block(120.0, 100.1)
    providers.told(untold, 100.0)
    assert providers.untold(101.0) == {"kimi": 19.0}


@pytest.mark.parametrize("asked_seconds", [float("inf"), 1e300, float("nan"), -5.0, 0.0])
def test_no_retry_after_closes_a_provider_for_ever(health: ProviderHealth, asked_seconds: float) -> None:
    health.put_back(begun(health, 100.0), slow_down(asked_seconds), stopped=False, now=100.0)
    assert health.blocked_until <= 100.0 + 24 * 3600
