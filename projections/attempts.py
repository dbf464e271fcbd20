"""The attempts read model: who worked on a task, when, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Column, DateTime, PrimaryKeyConstraint, Table, Text, select
from sqlalchemy.ext.asyncio import AsyncConnection

from projections.database import METADATA
from projections.runs import Run
from projections.texts import plain_json, storable
from schemas import events
from schemas.events import LifecycleEvent


class Outcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    #: Handed back at a checkpoint.
    YIELDED = "yielded"
    #: Handed back by its owner.
    RELEASED = "released"
    #: Its owner died, or another owner took over without a word of it.
    LOST = "lost"


ATTEMPTS = Table(
    "attempts",
    METADATA,
    Column("task_id", Text, nullable=False),
    Column("run", BigInteger, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("worker", Text, nullable=False),
    Column("handler_version", BigInteger, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True), comment="null while it runs"),
    Column("outcome", Text),
    Column("error_code", Text),
    Column("error_detail", Text),
    Column("waited_ms", Text, comment="JSON text: milliseconds waited before it, by cause"),
    Column("strategy", Text, comment="the strategy that chose it"),
    Column("model", Text, comment="the model that it ran on"),
    Column("usage", Text, comment="JSON text: what it used, by name and unit; null unless it completed"),
    PrimaryKeyConstraint("task_id", "run", "attempt"),
)
_C = ATTEMPTS.c


#: How a fact ends the attempt that runs; any other fact of a new owner means that it was lost.
_OUTCOMES: dict[str, Outcome] = {
    events.TaskCompleted.TYPE: Outcome.COMPLETED,
    events.TaskFailed.TYPE: Outcome.FAILED,
    events.TaskRetryScheduled.TYPE: Outcome.FAILED,
    events.TaskCancelled.TYPE: Outcome.CANCELLED,
    events.TaskYielded.TYPE: Outcome.YIELDED,
    events.TaskReleased.TYPE: Outcome.RELEASED,
}

Key = tuple[str, int, int]


class Opened(NamedTuple):
    """What the start of an attempt tells."""

    epoch: int
    worker: str
    handler_version: int
    started_at: datetime
    #: JSON text.
    waited_ms: str
    strategy: str | None
    model: str | None


class Closed(NamedTuple):
    """What the end of an attempt tells."""

    ended_at: datetime
    outcome: Outcome
    error_code: str | None
    error_detail: str | None
    #: JSON text.
    usage: str | None


def row_of(key: Key, opened: Opened | None, closed: Closed | None) -> tuple[Any, ...]:
    """The row of an attempt as far as it was told of, in the order of the table's columns."""
    *begun, waited_ms, strategy, model = opened or (None,) * 7
    *ended, usage = closed or (None,) * 5
    return (*key, *begun, *ended, waited_ms, strategy, model, usage)


def changes(before: Run | None, after: Run, fact: LifecycleEvent) -> Iterator[tuple[Key, Opened | Closed]]:
    """The attempts that a fact ended or began, given the run before and after it."""
    state = after.state
    running = None if before is None else before.running_attempt
    if running is not None and (after.running_attempt is None or isinstance(fact, events.TaskStarted)):
        outcome = _OUTCOMES.get(fact.TYPE, Outcome.LOST)
        failed = outcome is Outcome.FAILED or (isinstance(fact, events.TaskReleased) and fact.error_code is not None)
        code, detail = (state.error_code, state.error_detail) if failed else (None, None)
        usage = plain_json(fact.usage) if isinstance(fact, events.TaskCompleted) and fact.usage else None
        closed = Closed(fact.occurred_at, outcome, storable(code), storable(detail), usage)
        yield (state.task_id, state.run, running), closed
    if isinstance(fact, events.TaskStarted):
        yield (state.task_id, state.run, fact.attempt), _opened(fact)


def _opened(fact: events.TaskStarted) -> Opened:
    return Opened(
        fact.epoch,
        storable(fact.worker) or "",
        fact.handler_version,
        fact.occurred_at,
        plain_json(fact.waited_ms),
        storable(fact.strategy),
        storable(fact.model),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt of a task; attempts count from 1 and go on counting over runs."""

    run: int
    attempt: int
    epoch: int
    worker: str
    handler_version: int
    started_at: datetime
    #: None while it runs.
    ended_at: datetime | None
    outcome: Outcome | None
    error_code: str | None
    error_detail: str | None
    #: Milliseconds waited before it, by cause; see `domain.waits`.
    waited_ms: Mapping[str, int]
    strategy: str | None
    #: The model that it ran on.
    model: str | None
    #: What it used, by name and unit, such as `prompt_tokens`.
    usage: Mapping[str, float]


async def get_attempts(connection: AsyncConnection, task_id: str) -> list[Attempt]:
    """The attempts of a task, in order."""
    query = select(ATTEMPTS).where(_C.task_id == task_id).order_by(_C.run, _C.attempt)
    return [
        Attempt(
            run=row["run"],
            attempt=row["attempt"],
            epoch=row["epoch"],
            worker=row["worker"],
            handler_version=row["handler_version"],
            started_at=row["started_at"],
            ended_at=row["ended_at"],
            outcome=None if row["outcome"] is None else Outcome(row["outcome"]),
            error_code=row["error_code"],
            error_detail=row["error_detail"],
            waited_ms=json.loads(row["waited_ms"] or "{}"),
            strategy=row["strategy"],
            model=row["model"],
            usage=json.loads(row["usage"] or "{}"),
        )
        for row in (await connection.execute(query)).mappings()
    ]
