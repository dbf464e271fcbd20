"""From the chosen name to the strategy."""

from __future__ import annotations

from collections.abc import Callable

from domain.strategies.ageing import Aged, ageing_bound, by_wait
from domain.strategies.choice import Options, StrategyChoice
from domain.strategies.estimates import Estimates
from domain.strategies.lane_order import Key, LaneOrder, Order
from domain.strategies.scheduler import Scheduler
from domain.strategies.strategy import Lane, Strategy, WaitBound, Waiting


def make_strategy(choice: StrategyChoice, learned: Estimates, weights: Callable[[str], float]) -> Strategy:
    """A strategy in which nothing waits yet.

    `learned` is shared by all strategies of one worker; `weights` gives a tenant's present share.

    Raises:
        InvalidChoice: there is no such strategy, or an option is wrong.
    """
    options = choice.validated()
    closed: set[Lane] = set()
    if choice.name == "fifo":
        return Scheduler(LaneOrder(by_arrival, closed), closed, learned, in_turn_bound)
    return _aged(LaneOrder(by_priority, closed), closed, learned, options)


def by_arrival(task: Waiting) -> Key:
    """First accepted, first started."""
    return task.arrival


def by_priority(task: Waiting) -> Key:
    """Higher priority first; first accepted, first started within one."""
    return (-task.priority, *task.arrival)


def in_turn_bound(older: int) -> WaitBound:
    """Where nobody is overtaken, a task starts right after the older ones."""
    return WaitBound(0.0, older + 1)


def _aged(urgency: Order, closed: set[Lane], learned: Estimates, options: Options) -> Scheduler:
    order = Aged(urgency, LaneOrder(by_wait, closed), options.ageing_seconds, options.ageing_every)
    return Scheduler(
        order, closed, learned, lambda older: ageing_bound(options.ageing_seconds, options.ageing_every, older)
    )
