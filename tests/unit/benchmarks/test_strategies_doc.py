"""docs/strategies.md, its figures and its plots belong together."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from benchmarks.freed_permits import LANES
from benchmarks.strategies import LOADS, OPTIONS, QUEUES, SEED, TASKS, compared
from domain.strategies.choice import NAMES, Options

DOCUMENT = Path(__file__).parents[3] / "docs" / "strategies.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
RESULTS = json.loads((DOCUMENT.parent / "strategies" / "results.json").read_text(encoding="utf-8"))


def test_every_strategy_and_option_is_documented() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) == set(NAMES) | {
        each.name for each in fields(Options)
    }


def test_every_file_that_it_shows_is_there() -> None:
    shown = re.findall(r"\]\((strategies/[^)]+)\)", TEXT)
    assert len(shown) == 3
    assert [name for name in shown if not (DOCUMENT.parent / name).is_file()] == []


def test_the_figures_are_those_of_the_loads() -> None:
    assert (RESULTS["seed"], RESULTS["tasks"], RESULTS["options"]) == (SEED, TASKS, OPTIONS)
    assert {name: set(found) for name, found in RESULTS["loads"].items()} == {load: set(NAMES) for load in LOADS}
    assert {name: [int(each) for each in found] for name, found in RESULTS["start_microseconds"].items()} == {
        name: list(QUEUES) for name in NAMES
    }
    assert {name: [int(each) for each in found] for name, found in RESULTS["freed_permit_microseconds"].items()} == {
        name: list(LANES) for name in NAMES
    }


@pytest.mark.slow
def test_the_figures_are_what_the_strategies_do_today() -> None:
    """A change of a strategy shows here: run `make bench-strategies`, and read what docs/strategies.md says of it."""
    load = "bursts, lognormal service, 90 % load"
    assert dict(compared(load, LOADS[load], TASKS)) == RESULTS["loads"][load]
