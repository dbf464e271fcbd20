"""Tasks and strategies for tests of what starts when."""

from collections.abc import Callable
from typing import Any

from domain.strategies.choice import StrategyChoice
from domain.strategies.estimates import Estimates
from domain.strategies.make import make_strategy
from domain.strategies.strategy import Lane, Refuser, Running, Strategy, Waiting

LANE = Lane(model=None, provider=None, task_type="convert", tenant="tenant-a")


def lane(number: int = 0, **changes: Any) -> Lane:
    """A lane of its own for each number."""
    given = {"model": f"model-{number}", "provider": None, "task_type": "convert", "tenant": "tenant-a", **changes}
    return Lane(**given)


def waiting(number: int, priority: int = 2, **changes: Any) -> Waiting:
    """The task of that number; accepted in the order of numbers unless said otherwise."""
    given = {"lane": LANE, "accepted_ms": number, "tie": (0, number), **changes}
    return Waiting(task_id=f"t-{number}", priority=priority, **given)


def running(number: int, priority: int = 2, **changes: Any) -> Running:
    """An attempt of the task of that number that may be asked to make room."""
    given = {"lane": LANE, "started_ms": number, "preemptible": True, "asked": False, **changes}
    return Running(task_id=f"t-{number}", priority=priority, **given)


def strategy_of(
    name: str, learned: Estimates | None = None, weights: dict[str, float] | None = None, **options: Any
) -> Strategy:
    """The strategy with these options; a tenant without a weight has weight 1."""
    shares = weights or {}
    return make_strategy(StrategyChoice(name, options), learned or Estimates(), lambda tenant: shares.get(tenant, 1.0))


def anything(task: Waiting) -> None:
    """Refuses nothing."""


def nothing(task: Waiting) -> Refuser:
    """Refuses every task, each lane for itself."""
    return Refuser.of(task.lane)


def where(admits: Callable[[Waiting], bool]) -> Callable[[Waiting], Refuser | None]:
    """Refuses what is not admitted, each lane for itself."""
    return lambda task: None if admits(task) else Refuser.of(task.lane)


def drained(strategy: Strategy, now_ms: int = 0) -> list[Waiting]:
    """All that can start, in the order in which it does."""
    found = []
    while (task := strategy.pop(now_ms, anything)) is not None:
        found.append(task)
    return found
