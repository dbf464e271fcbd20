from dataclasses import replace

import pytest

from agents.watchdog import Patience, Vitals, verdict

WELL = Vitals(broker_reachable=True, outside_group_seconds=0, unacknowledged_seconds=0, starved_seconds=0)
PATIENCE = Patience(outside_group_seconds=1, unacknowledged_seconds=1, starved_seconds=1)


def vitals(**seconds: float) -> Vitals:
    return Vitals(**{"broker_reachable": True, **dict.fromkeys(SIGNS, 0), **seconds})  # type: ignore[arg-type]


SIGNS = ("outside_group_seconds", "unacknowledged_seconds", "starved_seconds")


def test_a_healthy_worker_goes_on() -> None:
    assert verdict(WELL, PATIENCE) is None


@pytest.mark.parametrize("sign", SIGNS)
def test_each_sign_of_trouble_ends_the_worker_when_patience_is_over(sign: str) -> None:
    assert verdict(vitals(**{sign: 1.0}), PATIENCE) is None
    assert verdict(vitals(**{sign: 1.1}), PATIENCE)


def test_records_that_were_passed_over_end_the_worker_at_once() -> None:
    passed_over = replace(WELL, passed_over="tasks-llm-low/3, offsets 0 to 19")
    assert "tasks-llm-low/3" in str(verdict(passed_over, PATIENCE))


@pytest.mark.parametrize("sign", SIGNS)
def test_a_worker_waits_for_a_broker_that_is_away(sign: str) -> None:
    assert verdict(vitals(**{sign: 1e9, "broker_reachable": False}), PATIENCE) is None
