"""What intake and held work ask of the log and of the read model; of the latter, projections have the queries."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from domain.errors import PenstockError
from schemas.codec import Message
from schemas.envelope import Headers
from schemas.events import LifecycleEvent


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

    task_id: str
    run: int
    resource_class: str
    #: The moment it may go on.
    until: datetime | None
    #: The whole TaskSubmitted in single-object Avro.
    submission: bytes


class IntakeReadModel(Protocol):
    """Every method raises ReadModelUnavailable while PostgreSQL cannot be reached."""

    async def known(self, task_ids: Collection[str]) -> set[str]:
        """Those of the ids that are tasks already."""
        ...

    async def queue(self) -> QueueSnapshot:
        """What waits now, in every class."""
        ...

    async def due(self, resource_class: str, at: datetime, limit: int) -> Sequence[HeldTask]:
        """Held tasks of a class whose wait is over, the longest waiting first."""
        ...

    async def held(self, task_ids: Collection[str]) -> Sequence[HeldTask]:
        """Those of the tasks that are held now."""
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

    async def append(
        self, topic: str, value: bytes | None, key: bytes | None, record_headers: Headers, partition: int | None = None
    ) -> asyncio.Future[Any]:
        """Begin to append bytes as they are."""
        ...

    async def all_acknowledged(self, futures: Iterable[asyncio.Future[Any]]) -> None:
        """Wait for all of them; LogUnavailable if one fails."""
        ...
