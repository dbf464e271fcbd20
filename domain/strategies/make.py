"""From the chosen name to the strategy."""

from __future__ import annotations

import math
from collections.abc import Callable

from domain.strategies.ageing import Aged, ageing_bound, by_wait
from domain.strategies.choice import Options, StrategyChoice
from domain.strategies.closures import Closures
from domain.strategies.estimates import Estimates
from domain.strategies.fair import DeficitRoundRobin
from domain.strategies.lane_order import Key, LaneOrder, LaneOrderByGroup, Order, SortKey
from domain.strategies.scheduler import Scheduler
from domain.strategies.shortest_first import ShortestFirst
from domain.strategies.strategy import Strategy, Usage, WaitBound, Waiting
from domain.strategies.yielding import NobodyAsks, Preemption, TimeSlices

#: Default of `Options.quantum`, by what is counted.
QUANTUMS = {"tokens": 1000.0, "seconds": 1.0}


def make_strategy(choice: StrategyChoice, learned: Estimates, weights: Callable[[str], float]) -> Strategy:
    """A strategy in which nothing waits yet.

    `learned` is shared by all strategies of one worker; `weights` gives a tenant's present share.

    Raises:
        InvalidChoice: there is no such strategy, or an option is wrong.
    """
    return _Maker(choice.validated(), learned, weights).make(choice.name)


def by_arrival(task: Waiting) -> Key:
    """First accepted, first started."""
    return task.arrival


def by_priority(task: Waiting) -> Key:
    """Higher priority first; first accepted, first started within one."""
    return (-task.priority, *task.arrival)


def by_deadline(task: Waiting) -> Key:
    """Earliest deadline first, tasks without one last; first accepted, first started within one."""
    return (math.inf if task.deadline_ms is None else task.deadline_ms, *task.arrival)


def in_turn_bound(older: int) -> WaitBound:
    """Where nobody is overtaken, a task starts right after those that stand before it."""
    return WaitBound(0.0, older + 1)


def no_bound(older: int) -> None:
    """Where others' use decides, no number of starts does."""


class _Maker:
    def __init__(self, options: Options, learned: Estimates, weights: Callable[[str], float]) -> None:
        self._options, self._learned, self._weights = options, learned, weights
        self._closures = Closures()

    def make(self, name: str) -> Scheduler:
        match name:
            case "fifo":
                return self._in_turn(by_arrival)
            case "round_robin":
                slices = TimeSlices(self._options.time_slice_seconds)
                return Scheduler(
                    LaneOrder(by_wait, self._closures), self._closures, self._learned, in_turn_bound, slices
                )
            case "fair":
                return Scheduler(self._fair_order(), self._closures, self._learned, no_bound)
            case "shortest_job_first":
                return self._aged(ShortestFirst(self._learned, self._closures))
            case "deadline":
                return self._aged(LaneOrder(by_deadline, self._closures))
            case "preemptive":
                return self._aged(LaneOrder(by_priority, self._closures), Preemption())
            case _:
                return self._aged(LaneOrder(by_priority, self._closures))

    def _in_turn(self, key: SortKey, asks: NobodyAsks | None = None) -> Scheduler:
        order = LaneOrder(key, self._closures)
        return Scheduler(order, self._closures, self._learned, in_turn_bound, asks)

    def _aged(self, urgency: Order, asks: NobodyAsks | None = None) -> Scheduler:
        aged = Aged(urgency, LaneOrder(by_wait, self._closures), *self._ageing)
        return Scheduler(aged, self._closures, self._learned, self._ageing_bound, asks)

    @property
    def _ageing(self) -> tuple[float, int]:
        return self._options.ageing_seconds, self._options.ageing_every

    def _ageing_bound(self, older: int) -> WaitBound:
        return ageing_bound(*self._ageing, older)

    def _fair_order(self) -> DeficitRoundRobin:
        cost = self._options.cost
        return DeficitRoundRobin(
            make_order=self._tenants_order,
            closures=self._closures,
            weights=self._weights,
            expected=self._expected_seconds if cost == "seconds" else _expected_tokens,
            actual=_actual_seconds if cost == "seconds" else _actual_tokens,
            quantum=self._options.quantum or QUANTUMS[cost],
        )

    def _tenants_order(self) -> tuple[Aged, LaneOrderByGroup]:
        waits = LaneOrderByGroup(by_wait, self._closures)
        return Aged(LaneOrderByGroup(by_priority, self._closures), waits, *self._ageing), waits

    def _expected_seconds(self, task: Waiting) -> float:
        if task.estimate_seconds is not None:
            return task.estimate_seconds
        return self._learned.seconds(task.lane.task_type, task.lane.model)


def _expected_tokens(task: Waiting) -> float:
    return task.cost


def _actual_seconds(usage: Usage) -> float:
    return usage.seconds


def _actual_tokens(usage: Usage) -> float | None:
    return usage.tokens
