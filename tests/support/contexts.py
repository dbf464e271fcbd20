"""A task's context for tests of handlers: real engines on demand, and a port that remembers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from agents.artifacts import ArtifactStore
from agents.context import Progress, TaskContext
from agents.engines.engines import Engines
from agents.engines.yielding import Checkpoints
from agents.handlers.settings import HandlerSettings


class RememberingPort:
    """Hears an attempt out."""

    def __init__(self) -> None:
        self.seen: list[Progress] = []
        self.heartbeats = 0
        #: States to go on from, as JSON texts.
        self.checkpointed: list[str] = []
        self.checkpoints = Checkpoints(self.kept, time.monotonic)
        self.usage: dict[str, float] = {}
        self.preemptible = True
        #: A test sets it to ask for the slot.
        self.yield_asked: asyncio.Event | None = None

    async def progress(self, progress: Progress) -> None:
        self.seen.append(progress)

    async def heartbeat(self) -> None:
        self.heartbeats += 1

    async def checkpoint(self, state: object) -> None:
        self.checkpoints.reached(state, self.yield_asked is not None and self.yield_asked.is_set())

    def kept(self, checkpoint: str) -> None:
        self.checkpointed.append(checkpoint)

    def used(self, usage: Mapping[str, float]) -> None:
        self.usage |= usage

    def not_preemptible(self) -> None:
        self.preemptible = False

    @property
    def text(self) -> str:
        """All deltas together."""
        return "".join(progress.delta or "" for progress in self.seen)


@asynccontextmanager
async def context(settings: HandlerSettings | None = None, **fields: Any) -> AsyncIterator[TaskContext]:
    """A context whose engines are closed afterwards."""
    settings = settings or HandlerSettings()
    engines = Engines(settings, processes_max=2)
    values: dict[str, Any] = {
        "task_id": "task-1",
        "attempt": 1,
        "epoch": 1,
        "task_type": "test",
        "idempotency_key": "key-of-task-1",
        "model": None,
        "timeout_seconds": 60.0,
        "deadline_at": datetime.now(UTC) + timedelta(seconds=60),
        "settings": settings,
        "artifacts": ArtifactStore(settings.artifacts_url),
        "engines": engines,
        "log": structlog.get_logger(),
        "port": RememberingPort(),
    }
    try:
        yield TaskContext(**{**values, **fields})
    finally:
        await engines.close()


def port_of(ctx: TaskContext) -> RememberingPort:
    """The context's port, as what it is."""
    assert isinstance(ctx.port, RememberingPort)
    return ctx.port
