"""Loads as JSON Lines: one object a task, for those who bring their own, and for loads taken out of a log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from domain.errors import PenstockError
from domain.simulation.jobs import MICROSECONDS, Job, Stay
from domain.simulation.recording import microseconds
from domain.strategies.strategy import Lane, Waiting

#: A moment: seconds from any beginning, or ISO 8601 with a time zone.
Moment = float | datetime
Positive = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class InvalidLoad(PenstockError):
    """A line is no task of a load; says which line, and what is wrong with it."""


class LoadLine(BaseModel):
    """One task of a load. All tasks must tell their moments in the same way."""

    model_config = ConfigDict(extra="forbid")

    arrives_at: Moment
    service_seconds: Positive
    task_id: str | None = None
    type: str = "task"
    tenant: str = "default"
    model: str | None = None
    provider: str | None = None
    priority: int = Field(default=2, ge=1, le=3)
    estimated_seconds: Positive | None = None
    deadline_at: Moment | None = None
    #: Expected tokens, and those really used.
    cost: Positive = 1.0
    tokens: Positive | None = None
    preemptible: bool = False


def read_load(lines: Iterable[str]) -> list[Job]:
    """The tasks of a file; empty lines are skipped. The order of the lines decides between equal moments.

    Raises:
        InvalidLoad: for the first line that is none.
    """
    jobs: list[Job] = []
    ids: set[str] = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            job = _job(LoadLine.model_validate_json(line), number)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise InvalidLoad(f"line {number} of the load: {where + ': ' if where else ''}{first['msg']}") from error
        if job.task.task_id in ids:
            raise InvalidLoad(f"line {number} of the load: the task {job.task.task_id!r} is there twice")
        ids.add(job.task.task_id)
        jobs.append(job)
    return jobs


def written_load(jobs: Iterable[Job]) -> Iterator[str]:
    """A line for each task; attempts that failed count into its service time, without their back-off."""
    for job in jobs:
        task = job.task
        values: dict[str, Any] = {
            "task_id": task.task_id,
            "arrives_at": job.arrives_us / MICROSECONDS,
            "service_seconds": job.service_us / MICROSECONDS,
            "type": task.lane.task_type,
            "tenant": task.lane.tenant,
            "model": task.lane.model,
            "provider": task.lane.provider,
            "priority": task.priority,
            "estimated_seconds": task.estimate_seconds,
            "deadline_at": None if task.deadline_ms is None else task.deadline_ms / 1000,
            "cost": task.cost,
            "tokens": job.stays[-1].tokens,
            "preemptible": job.preemptible,
        }
        yield json.dumps({name: value for name, value in values.items() if value is not None})


def _job(line: LoadLine, number: int) -> Job:
    arrives_us = _us(line.arrives_at)
    task = Waiting(
        task_id=line.task_id or f"line-{number}",
        lane=Lane(line.model, line.provider, line.type, line.tenant),
        priority=line.priority,
        accepted_ms=arrives_us // 1000,
        tie=(0, number),
        estimate_seconds=line.estimated_seconds,
        cost=line.cost,
        deadline_ms=None if line.deadline_at is None else _us(line.deadline_at) // 1000,
    )
    stay = Stay(round(line.service_seconds * MICROSECONDS), tokens=line.tokens)
    return Job(task, arrives_us, (stay,), line.preemptible)


def _us(moment: Moment) -> int:
    if isinstance(moment, datetime):
        return microseconds(moment.astimezone() if moment.tzinfo is None else moment)
    return timedelta(seconds=moment) // timedelta(microseconds=1)
