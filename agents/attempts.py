"""One attempt at one task: runs its handler and says in one command how it ended."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from agents import checkpoints
from agents.artifacts import ArtifactStore
from agents.attempt_port import LivePort
from agents.context import TaskContext
from agents.engines.engines import Engines
from agents.engines.yielding import Yielded
from agents.entries import Entry, Stop
from agents.handlers.registry import Handler, Registry
from agents.handlers.running import run_handler
from agents.handlers.settings import HandlerSettings
from domain.decide import Complete, ConfirmCancel, Fail, OwnerCommand, Release, Yield
from domain.errors import TaskError, UnknownTaskType
from domain.retry import RetryPolicy
from schemas.events import derived_uuid
from streams.log import EventLog

#: An error's text in the log; the rest belongs into the worker's own log file.
DETAIL_LENGTH_MAX = 2000
#: The time allowed for silence is begun anew at most so often within itself, so that a sign of life costs little.
_SILENCE_STEPS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnd:
    """How an attempt ended."""

    #: What its owner decides; None when its shard was lost, so that nothing may be said about it.
    command: OwnerCommand | None
    #: By what it failed.
    error: TaskError | None = None
    #: Tokens that it used; None where it told none.
    tokens: float | None = None
    #: It was told to stop, or never began.
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class AttemptRunner:
    """What all attempts of a worker share."""

    registry: Registry
    settings: HandlerSettings
    engines: Engines
    artifacts: ArtifactStore
    log: EventLog
    retry: RetryPolicy

    async def run(self, entry: Entry) -> AttemptEnd:
        """Run the handler to its end, whatever that is."""
        port = LivePort(self.log, entry)
        begun = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(entry.submission.timeout_seconds):
                result = await self._unless_silent(entry, port)
        except TimeoutError:
            detail = f"the attempt took longer than its {entry.submission.timeout_seconds:g} s"
            return self.failed(TaskError("timeout", detail, retryable=True), port.tokens)
        except TaskError as error:
            return self.failed(error, port.tokens)
        except Yielded as yielded:
            return await self._yielded(yielded.checkpoint, port.tokens)
        except asyncio.CancelledError:
            if entry.stop in (Stop.SHUTDOWN, Stop.LAPSED) and port.checkpointed is not None:
                return await self._yielded(port.checkpointed, port.tokens)
            return self.stopped(entry, port.tokens)
        finally:
            await port.close()
        seconds = round(asyncio.get_running_loop().time() - begun, 6)
        complete = Complete(at=datetime.now(UTC), result=result, duration_seconds=seconds, usage=port.usage)
        return AttemptEnd(command=complete, tokens=port.tokens)

    def handler(self, task_type: str) -> Handler | None:
        """The handler that would run such a task here."""
        try:
            return self.registry.get(task_type)
        except UnknownTaskType:
            return None

    async def _unless_silent(self, entry: Entry, port: LivePort) -> str:
        handler = self.handler(entry.submission.type)
        seconds = None if handler is None else handler.heartbeat_timeout_seconds
        if seconds is None:
            return await self._handle(entry, port)
        try:
            async with asyncio.timeout(seconds) as silence:
                port.on_alive = _begun_anew(silence, seconds)
                return await self._handle(entry, port)
        except TimeoutError:
            if not silence.expired():
                raise
            detail = f"no sign of life from the handler for {seconds:g} s"
            raise TaskError("heartbeat_timeout", detail, retryable=True) from None

    async def _handle(self, entry: Entry, port: LivePort) -> str:
        submission, state = entry.submission, entry.state
        try:
            handler = self.registry.get(submission.type)
        except UnknownTaskType as error:
            raise TaskError("unknown_task_type", f"{error}; its plug-in is missing in this worker") from error
        context = TaskContext(
            task_id=entry.task_id,
            attempt=state.attempt,
            epoch=state.epoch,
            task_type=submission.type,
            idempotency_key=derived_uuid(f"{entry.task_id}/{state.run}/side-effects"),
            model=state.model,
            timeout_seconds=submission.timeout_seconds,
            deadline_at=datetime.now(UTC) + timedelta(seconds=submission.timeout_seconds),
            settings=self.settings,
            checkpointed=await checkpoints.loaded(state.checkpoint, self.artifacts),
            artifacts=self.artifacts,
            engines=self.engines,
            log=structlog.get_logger("penstock.handler", task_id=entry.task_id, attempt=state.attempt),
            port=port,
        )
        return await run_handler(handler, submission.payload, context)

    def failed(self, error: TaskError, tokens: float | None = None) -> AttemptEnd:
        """The end of an attempt that failed."""
        command = Fail(
            at=datetime.now(UTC),
            code=error.code,
            detail=error.detail[:DETAIL_LENGTH_MAX],
            retryable=error.retryable,
            retry_after_seconds=error.retry_after_seconds,
            jitter=random.random(),  # noqa: S311 - spreads retries, protects nothing
            policy=self.retry,
        )
        return AttemptEnd(command=command, error=error, tokens=tokens)

    def stopped(self, entry: Entry, tokens: float | None = None) -> AttemptEnd:
        """The end of an attempt that was cancelled, or never began."""
        at = datetime.now(UTC)
        command: OwnerCommand | None
        match entry.stop:
            case Stop.CANCEL:
                command = ConfirmCancel(at=at, reason="stopped on request")
            case Stop.SHUTDOWN:
                command = Release(at=at, reason="its worker shut down")
            case Stop.LAPSED:
                command = Release(at=at, reason="a permit that it ran under could not be renewed")
            case Stop.YIELD | None if entry.lost:
                command = None
            case Stop.YIELD | None:
                detail = "the handler raised CancelledError although nobody had asked it to stop"
                return self.failed(TaskError("handler_error", detail, retryable=True), tokens)
        return AttemptEnd(command=command, tokens=tokens, stopped=True)

    async def _yielded(self, checkpoint: str, tokens: float | None) -> AttemptEnd:
        command: OwnerCommand
        try:
            text = await checkpoints.bounded(checkpoint, self.artifacts)
            command = Yield(at=datetime.now(UTC), checkpoint=text)
        except Exception as error:
            # Without its state it goes on from where it was before; that costs time, and no attempt.
            structlog.get_logger().warning("a checkpoint cannot be stored", exc_info=error)
            command = Release(at=datetime.now(UTC), reason=f"its checkpoint could not be stored: {error}")
        return AttemptEnd(command=command, tokens=tokens, stopped=True)


def _begun_anew(silence: asyncio.Timeout, seconds: float) -> Callable[[], None]:
    """Gives the silence its whole time again, each time it is called."""

    def alive() -> None:
        until = asyncio.get_running_loop().time() + seconds
        if until - (silence.when() or 0.0) > seconds / _SILENCE_STEPS:
            silence.reschedule(until)

    return alive
