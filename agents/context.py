"""What a handler is given besides its payload, and what it needs around it, as ports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Protocol

from agents.artifacts import ArtifactStore
from agents.engines import reporting
from agents.engines.engines import Engines
from agents.handlers.settings import HandlerSettings


class Log(Protocol):
    """The part of a structlog bound logger that handlers may use."""

    def debug(self, event: str, **facts: Any) -> Any: ...
    def info(self, event: str, **facts: Any) -> Any: ...
    def warning(self, event: str, **facts: Any) -> Any: ...
    def error(self, event: str, **facts: Any) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an attempt is. Every field may be absent."""

    #: 0 to 100.
    percent: float | None = None
    message: str | None = None
    #: The next piece of a text that grows.
    delta: str | None = None


class AttemptPort(Protocol):
    """What the dispatcher hears from a running attempt."""

    async def progress(self, progress: Progress) -> None:
        """Show watchers how far the attempt is. It is a heartbeat too. Losing one does no harm."""

    async def heartbeat(self) -> None:
        """The attempt is alive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What every handler may know of the attempt that it makes."""

    task_id: str
    #: Counts from 1, over all runs.
    attempt: int
    #: Fencing number of the attempt's owner.
    epoch: int
    task_type: str
    #: The same for every attempt: what systems outside recognise a repeat by.
    idempotency_key: str
    #: Model that the task asks for; None: the installation's default.
    model: str | None
    timeout_seconds: float
    #: When the attempt will be stopped; aware UTC.
    deadline_at: datetime
    settings: HandlerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContext(Attempt):
    """One attempt at one task, as an `async def` handler sees it."""

    artifacts: ArtifactStore
    engines: Engines
    log: Log
    port: AttemptPort

    async def progress(
        self, *, percent: float | None = None, message: str | None = None, delta: str | None = None
    ) -> None:
        """Tell the task's watchers how far the work is; percent is 0 to 100, delta the next piece of a growing text."""
        await self.port.progress(Progress(percent=percent, message=message, delta=delta))

    async def heartbeat(self) -> None:
        """Say that the attempt is alive, where there is no progress to tell."""
        await self.port.heartbeat()

    async def run_in_process(
        self, function: Callable[..., object], *args: object, timeout_seconds: float | None = None
    ) -> Any:
        """What `function(*args)` returns in an engine process, which is killed when the attempt is cancelled.

        The function lies at the top level of an importable module; arguments and value can be pickled. It tells
        its progress by `agents.engines.reporting.report`.

        Raises:
            TaskError: as the function raised it, or `handler_error`, `engine_died`, `out_of_memory`, `timeout`.
        """
        return await self.engines.pool.run(
            function, *args, timeout_seconds=timeout_seconds, on_report=self._forward_report
        )

    async def _forward_report(self, fields: Mapping[str, object]) -> None:
        if fields:
            await self.port.progress(Progress(**fields))  # type: ignore[arg-type]  # reporting.report built them
        else:
            await self.port.heartbeat()

    def for_process(self) -> ProcessContext:
        """The part of this context that can cross into an engine process."""
        return ProcessContext(**{field.name: getattr(self, field.name) for field in fields(Attempt)})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessContext(Attempt):
    """One attempt at one task, as a plain `def` handler sees it in its engine process. Its methods may block."""

    @property
    def artifacts(self) -> ArtifactStore:
        """Use its `put_now` and `get_now`."""
        return ArtifactStore(self.settings.artifacts_url)

    def progress(self, *, percent: float | None = None, message: str | None = None, delta: str | None = None) -> None:
        """As `TaskContext.progress`."""
        reporting.report(percent=percent, message=message, delta=delta)

    def heartbeat(self) -> None:
        """As `TaskContext.heartbeat`."""
        reporting.report()
