"""Which strategy a class uses, and with which options."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

#: The names that a class may choose from, with what each one does.
NAMES: Mapping[str, str] = MappingProxyType(
    {
        "fifo": "first accepted, first started",
        "priority": "higher priority first, with ageing",
        "round_robin": "whoever has waited longest for a turn; a turn that others wait for ends after a time slice",
        "shortest_job_first": "the shortest estimate first, with ageing",
        "preemptive": "higher priority first, with ageing; a running task of lower priority is asked to make room",
        "fair": "tenants in turn, by weight and by what their tasks use",
        "deadline": "earliest deadline first, with ageing; tasks without one last",
    }
)
COSTS = ("tokens", "seconds")


class InvalidChoice(ValueError):
    """There is no such strategy or option, or its value is out of range."""


@dataclass(frozen=True, slots=True)
class Options:
    """What may be set beside the name; a strategy ignores what is none of its business."""

    #: Wait from which on a task is served by age as well.
    ageing_seconds: float = 60.0
    #: One start in so many goes to the longest-waiting task, once it has aged.
    ageing_every: int = 5
    #: round_robin: the longest turn while others wait, in seconds.
    time_slice_seconds: float = 10.0
    #: fair: what a tenant's share is counted in, `tokens` or `seconds`.
    cost: str = "tokens"
    #: fair: what a tenant of weight 1 is granted in each round, in that unit; by default 1000 tokens or 1 second.
    quantum: float | None = None


@dataclass(frozen=True, slots=True)
class StrategyChoice:
    """A name and the options that differ from the default."""

    name: str = "priority"
    options: Mapping[str, Any] = field(default_factory=dict)

    def validated(self) -> Options:
        """The options, with defaults for those not given.

        Raises:
            InvalidChoice: naming what is wrong and what would be right.
        """
        if self.name not in NAMES:
            raise InvalidChoice(f"no strategy {self.name!r}: choose one of {', '.join(NAMES)}")
        known = {option.name for option in fields(Options)}
        for name in self.options:
            if name not in known:
                raise InvalidChoice(f"no option {name!r}: choose among {', '.join(sorted(known))}")
        given = dict(self.options)
        if "ageing_every" in given:
            given["ageing_every"] = _count("ageing_every", given["ageing_every"])
        for name, least in (("ageing_seconds", 0.0), ("time_slice_seconds", 0.001), ("quantum", 0.001)):
            if name in given:
                given[name] = _number(name, given[name], least)
        if given.get("cost", COSTS[0]) not in COSTS:
            raise InvalidChoice(f"cost is {given['cost']!r}: choose one of {', '.join(COSTS)}")
        return Options(**given)


def _number(name: str, value: object, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < least:
        raise InvalidChoice(f"{name} is {value!r}: give a number of at least {least:g}")
    return float(value)


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidChoice(f"{name} is {value!r}: give a whole number of at least 1")
    return value
