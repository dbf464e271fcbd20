"""What workers say of their queues once a second, as readers see it: who waits in which lane, and what closes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from domain.strategies.estimates import Kind


@dataclass(frozen=True, slots=True)
class Closure:
    """What keeps a lane's tasks from starting: a cause of waiting, and whose limit or pause it is."""

    cause: str
    scope: str
    name: str
    #: When it is over, where that is known.
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """Tasks of one worker to which the very same limits apply."""

    model: str | None
    provider: str | None
    task_type: str
    tenant: str
    waiting: int
    running: int
    closed_by: Closure | None = None
    #: How long its attempts take; None before any has ended.
    mean_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """One worker of a resource class."""

    worker: str
    resource_class: str
    #: When it said so.
    at: datetime
    slots: int
    running: int
    strategy: str
    lanes: tuple[LaneStatus, ...] = ()


def lengths(dispatchers: Iterable[Dispatcher]) -> dict[Kind, float]:
    """How long attempts of each type and model take, as one of the workers has learned it."""
    lanes = (lane for worker in dispatchers for lane in worker.lanes)
    return {(lane.task_type, lane.model): lane.mean_seconds for lane in lanes if lane.mean_seconds is not None}


def running_of(dispatchers: Iterable[Dispatcher], scope: str, name: str) -> int:
    """How many tasks of a class, a model or a tenant run."""
    if scope == "class":
        return sum(worker.running for worker in dispatchers if worker.resource_class == name)
    lanes = (lane for worker in dispatchers for lane in worker.lanes)
    return sum(lane.running for lane in lanes if {"model": lane.model, "tenant": lane.tenant}[scope] == name)


def dispatcher_of(worker: str, resource_class: str, at: datetime, status: Mapping[str, Any]) -> Dispatcher:
    """A row as a worker wrote it; what another version left out reads as nothing."""
    return Dispatcher(
        worker=worker,
        resource_class=resource_class,
        at=at,
        slots=int(status.get("slots") or 0),
        running=int(status.get("running") or 0),
        strategy=str(status.get("strategy") or ""),
        lanes=tuple(_lane(each) for each in status.get("lanes") or ()),
    )


def _lane(lane: Mapping[str, Any]) -> LaneStatus:
    closed_by = lane.get("closed_by")
    return LaneStatus(
        model=lane.get("model"),
        provider=lane.get("provider"),
        task_type=str(lane.get("task_type") or ""),
        tenant=str(lane.get("tenant") or ""),
        waiting=int(lane.get("waiting") or 0),
        running=int(lane.get("running") or 0),
        closed_by=_closure(closed_by) if closed_by else None,
        mean_seconds=lane.get("mean_seconds"),
    )


def _closure(closure: Mapping[str, Any]) -> Closure:
    until = closure.get("until")
    return Closure(
        cause=str(closure.get("cause") or ""),
        scope=str(closure.get("scope") or ""),
        name=str(closure.get("name") or ""),
        until=_moment(until) if until is not None else None,
    )


def _moment(value: object) -> datetime | None:
    """A moment as RFC 3339 or as seconds since 1970."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    return datetime.fromisoformat(str(value)) if value else None
