"""What a handler is given besides its payload, and what it needs around it, as ports."""

from __future__ import annotations

import asyncio
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

    async def checkpoint(self, state: object) -> None:
        """The attempt can go on from this state. It is a heartbeat too.

        Raises:
            Yielded: its slot is asked for.
            TaskError: `invalid_checkpoint`.
        """

    def kept(self, checkpoint: str) -> None:
        """A state to go on from, as JSON text, in case that the attempt is stopped."""

    def used(self, usage: Mapping[str, float]) -> None:
        """What the attempt has used so far."""

    @property
    def yield_asked(self) -> asyncio.Event | None:
        """Set when the attempt's slot is asked for; None where it cannot be handed back."""

    def not_preemptible(self) -> None:
        """From now on the attempt cannot hand its slot back."""


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
    #: What the handler gave to `checkpoint` when it last handed its slot back: to go on from; None: from the start.
    checkpointed: Any = None


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

    async def checkpoint(self, state: object) -> None:
        """Say that the work can go on from `state`, any JSON value: the handler finds it in `checkpointed` then.

        Call it from the handler itself at every place where it could stop, seconds apart or less. Where others need
        its slot (a strategy that preempts or deals out time, a shutdown), the attempt ends here, at no cost to the
        task, and a later one goes on from the state, perhaps on another worker. An attempt that fails or dies goes on
        from where the task last handed its slot back. It is a heartbeat too.

        Raises:
            TaskError: `invalid_checkpoint`: the state is not JSON.
        """
        await self.port.checkpoint(state)

    def not_preemptible(self) -> None:
        """Say that this attempt will not hand its slot back, though others of its type would: nobody asks for it."""
        self.port.not_preemptible()

    def used(self, **usage: float) -> None:
        """Say what the attempt used so far, such as `prompt_tokens` and `completion_tokens`: limits settle by it."""
        self.port.used(usage)

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
            function,
            *args,
            timeout_seconds=timeout_seconds,
            on_report=self._forward_report,
            yield_asked=self.port.yield_asked,
        )

    async def _forward_report(self, fields: Mapping[str, object]) -> None:
        if text := fields.get("checkpoint"):
            self.port.kept(str(text))
            await self.port.heartbeat()
        elif isinstance(usage := fields.get("usage"), Mapping):
            self.port.used(usage)
        elif fields:
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

    def checkpoint(self, state: object) -> None:
        """As `TaskContext.checkpoint`."""
        reporting.checkpoint(state)

    def used(self, **usage: float) -> None:
        """As `TaskContext.used`."""
        reporting.use(usage)
