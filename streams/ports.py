"""What intake and held work ask of the log and of the read model; of the latter, projections have the queries."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from domain.dependencies import Dependency
from domain.errors import PenstockError
from domain.task import TaskState
from schemas.codec import Message
from schemas.envelope import Headers
from schemas.events import LifecycleEvent, TaskSubmitted
from streams.log import Append


class ReadModelUnavailable(PenstockError):
    """The read model cannot be asked right now; the log goes on without it."""


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """How much waits, and up to where the log was read when that was so: one consistent view."""

    #: Tasks that wait for a start, held ones aside, by resource class.
    waiting: Mapping[str, int] = field(default_factory=dict)
    #: The next offset that the projector will fold, by topic and partition.
    projected: Mapping[tuple[str, int], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldTask:
    """A task that waits outside every window."""

    #: What its facts add up to, the hold included.
    state: TaskState
    #: See `domain.holds`.
    reason: str
    #: The whole TaskSubmitted in single-object Avro.
    submission: bytes
    #: The log has taken its submission since: its owner will speak of it.
    released: bool = False

    @property
    def task_id(self) -> str:
        """Its id."""
        return self.state.task_id

    @property
    def run(self) -> int:
        """Its run."""
        return self.state.run

    @property
    def submitted(self) -> TaskSubmitted:
        """What was asked."""
        assert self.state.submission is not None, "a hold carries the submission that it holds"
        return self.state.submission


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependant:
    """A task that waits for others."""

    task_id: str
    run: int
    resource_class: str
    depends_on: tuple[str, ...]
    on_dependency_failure: str
    workflow_id: str | None
    #: It must not run before this moment either.
    until: datetime | None


class Step(NamedTuple):
    """An unfinished step of a workflow."""

    task_id: str
    run: int
    workflow_id: str


class IntakeReadModel(Protocol):
    """Every method raises ReadModelUnavailable while PostgreSQL cannot be reached."""

    async def known(self, task_ids: Collection[str]) -> set[str]:
        """Those of the ids that are tasks already."""
        ...

    async def queue(self) -> QueueSnapshot:
        """What waits now, in every class."""
        ...

    async def due(self, resource_class: str, at: datetime, limit: int) -> Sequence[HeldTask]:
        """Held tasks of a class that wait for a time which has come, the longest waiting first."""
        ...

    async def held_for(self, reasons: Collection[str], resource_class: str, limit: int) -> Sequence[HeldTask]:
        """Held tasks of a class with one of the reasons, the oldest first."""
        ...

    async def hold_reasons(self) -> Sequence[str]:
        """What tasks are held for, each reason once."""
        ...

    async def expired(self, at: datetime, limit: int) -> Sequence[HeldTask]:
        """Held tasks whose deadline has passed."""
        ...

    async def held(self, task_ids: Collection[str]) -> Sequence[HeldTask]:
        """Those of the tasks that are held now."""
        ...

    async def waiting(self, after: str, limit: int) -> Sequence[Dependant]:
        """So many of the tasks that wait for others, by task id, those behind `after`."""
        ...

    async def waiting_for(self, ended: Collection[str], limit: int) -> Sequence[Dependant]:
        """Tasks that wait for one of these."""
        ...

    async def dependencies(self, task_ids: Collection[str]) -> Mapping[str, Dependency]:
        """How tasks are that others wait for; unknown ones are left out."""
        ...

    async def results(self, task_ids: Collection[str]) -> Mapping[str, str]:
        """Results of those of the tasks that completed, as JSON texts."""
        ...

    async def unfinished_steps(self, after: str, limit: int) -> Sequence[Step]:
        """Unfinished steps that wait for no others, of workflows that a failing step stops: a page behind `after`."""
        ...

    async def failed_steps(self, workflow_ids: Collection[str]) -> Mapping[str, Dependency]:
        """The first step that did not complete, of each of the workflows that has any."""
        ...

    async def last_ticks(self, schedule_ids: Collection[str]) -> Mapping[str, str]:
        """Id of the latest task of each schedule that has any."""
        ...


class Appends(Protocol):
    """Appends that are begun now and awaited together; see `streams.log.EventLog`."""

    async def record(self, fact: LifecycleEvent, traceparent: str | None = None) -> asyncio.Future[Any]:
        """Begin to append a fact."""
        ...

    async def send(
        self, message: Message, topic: str, key: str, *, traceparent: str | None = None
    ) -> asyncio.Future[Any]:
        """Begin to append a message."""
        ...

    async def send_all(self, appends: Iterable[Append]) -> list[asyncio.Future[Any]]:
        """Begin several, in order."""
        ...

    async def append(
        self, topic: str, value: bytes | None, key: bytes | None, record_headers: Headers, partition: int | None = None
    ) -> asyncio.Future[Any]:
        """Begin to append bytes as they are."""
        ...

    async def all_acknowledged(self, futures: Iterable[asyncio.Future[Any]]) -> None:
        """Wait for all of them; LogUnavailable if one fails."""
        ...
