from typing import Any

import pytest

from domain.strategies.choice import NAMES, InvalidChoice, Options, StrategyChoice
from tests.support.strategies import strategy_of


@pytest.mark.parametrize("name", NAMES)
def test_every_name_makes_a_strategy_without_options(name: str) -> None:
    assert StrategyChoice(name).validated() == Options()
    assert len(strategy_of(name)) == 0


def test_options_replace_defaults() -> None:
    given = {"ageing_seconds": 30, "ageing_every": 2, "time_slice_seconds": 0.5, "cost": "seconds", "quantum": 4}
    assert StrategyChoice("fair", given).validated() == Options(30.0, 2, 0.5, "seconds", 4.0)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("lifo", {}, "no strategy 'lifo'.*fifo"),
        ("fifo", {"slots": 1}, "no option 'slots'.*ageing_every"),
        ("priority", {"ageing_every": 0}, "ageing_every is 0"),
        ("priority", {"ageing_every": 2.5}, "ageing_every is 2.5"),
        ("priority", {"ageing_seconds": -1}, "ageing_seconds is -1"),
        ("priority", {"ageing_seconds": float("nan")}, "ageing_seconds is nan"),
        ("priority", {"ageing_seconds": True}, "ageing_seconds is True"),
        ("round_robin", {"time_slice_seconds": 0}, "time_slice_seconds is 0"),
        ("fair", {"quantum": "10"}, "quantum is '10'"),
        ("fair", {"cost": "euros"}, "cost is 'euros'.*tokens"),
    ],
)
def test_what_is_wrong_is_named(name: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidChoice, match=says):
        StrategyChoice(name, options).validated()
