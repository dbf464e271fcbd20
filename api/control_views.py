"""What the control routes answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from api.views import Moment, View
from domain.configuration import Configuration, Pause
from domain.dispatch_status import Closure, Dispatcher, LaneStatus, running_of
from domain.limits.limit import Limit
from domain.strategies.choice import NAMES, StrategyChoice


class StrategyView(View):
    """How a class's waiting tasks are ordered."""

    resource_class: str = Field(serialization_alias="class")
    strategy: str
    options: dict[str, Any]


class StrategiesView(View):
    """Every class's strategy, and the strategies that there are."""

    classes: list[StrategyView]
    available: dict[str, str] = Field(description="Each strategy with what it does.")


class EveryStrategyView(View):
    """The one strategy that every class has now."""

    message: str
    strategy: str
    time_slice: float | None = None


class LimitView(View):
    """How much may go on; null is not limited."""

    scope: str
    name: str
    concurrency: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


class LimitsView(View):
    """Every limit that holds."""

    limits: list[LimitView]


class PauseView(View):
    """Nothing of it starts."""

    scope: str
    name: str
    drain: bool = Field(description="Whoever paused it waits until nothing of it runs.")
    reason: str
    paused_at: Moment
    paused_by: str
    running: int | None = Field(default=None, description="In the overview: tasks of it that still run.")


class PausesView(View):
    """All that is paused."""

    pauses: list[PauseView]


class ClosureView(View):
    """What keeps a lane's tasks from starting."""

    cause: str
    scope: str
    name: str
    until: Moment | None = None


class LaneView(View):
    """Tasks of one worker to which the same limits apply."""

    model: str | None
    provider: str | None
    type: str
    tenant: str
    waiting: int
    running: int
    closed_by: ClosureView | None = None
    mean_seconds: float | None = None


class WorkerView(View):
    """One worker, as it said of itself lately."""

    worker: str
    at: Moment
    slots: int
    running: int
    strategy: str
    lanes: list[LaneView]


class ClassView(StrategyView):
    """One class: its order, and what its workers do."""

    slots: int
    running: int
    waiting: int = Field(description="In the windows of its workers.")
    workers: list[WorkerView]


class SchedulerView(View):
    """What is configured, and what the workers do."""

    classes: list[ClassView]
    pauses: list[PauseView]
    limits: list[LimitView]
    weights: dict[str, float]


class WeightView(View):
    """A tenant's share beside the others'."""

    tenant: str
    weight: float


class CancelledView(View):
    """What a bulk cancel came to."""

    matched: int = Field(description="Unfinished tasks that fitted: all of them in a dry run, else this request's.")
    asked: int = Field(description="Tasks whose end this request asked for; an owner confirms each.")
    dry_run: bool
    next: str | None = Field(description="`after` of the next request; null when none is left.")


class WhyView(View):
    """Why a task waits or waited. What does not apply is null."""

    task_id: str
    status: str
    sentence: str
    cause: str | None
    position: int | None = Field(description="Its place in `line`; counts from 1.")
    ahead: int | None
    line: str | None
    estimate_seconds: float | None = Field(description="Until it probably starts.")
    bound_after_seconds: float | None
    bound_starts: int | None = Field(
        description="It starts at the latest after bound_after_seconds and so many starts."
    )
    bound_seconds: float | None = Field(description="The same as a time, by how long attempts have taken.")
    waited_ms: dict[str, int] = Field(description="By cause, of a task that has started.")
    waited_total_ms: int
    strategy: str | None


def strategy_view(resource_class: str, choice: StrategyChoice) -> StrategyView:
    """A class's strategy."""
    return StrategyView(resource_class=resource_class, strategy=choice.name, options=dict(choice.options))


def strategies_view(configuration: Configuration, classes: Iterable[str]) -> StrategiesView:
    """The strategies of the classes."""
    views = [strategy_view(name, configuration.strategy_of(name)) for name in classes]
    return StrategiesView(classes=views, available=dict(NAMES))


def limit_view(key: tuple[str, str], limit: Limit) -> LimitView:
    """A limit."""
    return LimitView(
        scope=key[0],
        name=key[1],
        concurrency=limit.concurrency,
        requests_per_minute=limit.requests_per_minute,
        tokens_per_minute=limit.tokens_per_minute,
    )


def limits_view(configuration: Configuration) -> LimitsView:
    """All limits, by scope and name."""
    return LimitsView(limits=[limit_view(key, limit) for key, limit in sorted(configuration.limits.items())])


def pause_view(pause: Pause, workers: Iterable[Dispatcher] | None = None) -> PauseView:
    """A pause, with what still runs of it where workers are given."""
    return PauseView(
        scope=pause.scope,
        name=pause.name,
        drain=pause.drain,
        reason=pause.reason,
        paused_at=pause.paused_at,
        paused_by=pause.paused_by,
        running=None if workers is None else running_of(workers, pause.scope, pause.name),
    )


def pauses_view(configuration: Configuration, workers: Iterable[Dispatcher] | None = None) -> PausesView:
    """All pauses, by scope and name."""
    return PausesView(pauses=[pause_view(pause, workers) for _, pause in sorted(configuration.pauses.items())])


def class_view(resource_class: str, choice: StrategyChoice, workers: list[Dispatcher]) -> ClassView:
    """A class and its workers."""
    return ClassView(
        resource_class=resource_class,
        strategy=choice.name,
        options=dict(choice.options),
        slots=sum(worker.slots for worker in workers),
        running=sum(worker.running for worker in workers),
        waiting=sum(lane.waiting for worker in workers for lane in worker.lanes),
        workers=[_worker(worker) for worker in workers],
    )


def _worker(worker: Dispatcher) -> WorkerView:
    return WorkerView(
        worker=worker.worker,
        at=worker.at,
        slots=worker.slots,
        running=worker.running,
        strategy=worker.strategy,
        lanes=[_lane(lane) for lane in worker.lanes],
    )


def _lane(lane: LaneStatus) -> LaneView:
    return LaneView(
        model=lane.model,
        provider=lane.provider,
        type=lane.task_type,
        tenant=lane.tenant,
        waiting=lane.waiting,
        running=lane.running,
        closed_by=_closure(lane.closed_by) if lane.closed_by else None,
        mean_seconds=lane.mean_seconds,
    )


def _closure(closure: Closure) -> ClosureView:
    return ClosureView(cause=closure.cause, scope=closure.scope, name=closure.name, until=closure.until)
