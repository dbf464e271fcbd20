"""One attempt at one task: runs its handler and says in one command how it ended."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from agents.artifacts import ArtifactStore
from agents.context import TaskContext
from agents.engines.engines import Engines
from agents.handlers.registry import Registry
from agents.handlers.running import run_handler
from agents.handlers.settings import HandlerSettings
from agents.progress import ProgressReports
from agents.window import Entry, Stop
from domain.decide import Complete, ConfirmCancel, Fail, OwnerCommand, Release
from domain.errors import TaskError, UnknownTaskType
from domain.retry import RetryPolicy
from schemas.events import derived_uuid
from streams.log import EventLog

#: An error's text in the log; the rest belongs into the worker's own log file.
DETAIL_LENGTH_MAX = 2000


@dataclass(frozen=True, slots=True)
class AttemptRunner:
    """What all attempts of a worker share."""

    registry: Registry
    settings: HandlerSettings
    engines: Engines
    artifacts: ArtifactStore
    log: EventLog
    retry: RetryPolicy

    async def run(self, entry: Entry) -> OwnerCommand | None:
        """How the attempt ended; None when its shard was lost, so that nothing may be said about it."""
        reports = ProgressReports(self.log, entry.task_id, entry.state.attempt)
        begun = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(entry.submission.timeout_seconds):
                result = await self._handle(entry, reports)
        except TimeoutError:
            detail = f"the attempt took longer than its {entry.submission.timeout_seconds:g} s"
            return self.failed(TaskError("timeout", detail, retryable=True))
        except TaskError as error:
            return self.failed(error)
        except asyncio.CancelledError:
            return self.stopped(entry)
        finally:
            await reports.close()
        seconds = asyncio.get_running_loop().time() - begun
        return Complete(at=datetime.now(UTC), result=result, duration_seconds=round(seconds, 6))

    def handler_version(self, task_type: str) -> int:
        """Version of the handler that would run such a task here."""
        try:
            return self.registry.get(task_type).version
        except UnknownTaskType:
            return 0

    async def _handle(self, entry: Entry, reports: ProgressReports) -> str:
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
            model=submission.model,
            timeout_seconds=submission.timeout_seconds,
            deadline_at=datetime.now(UTC) + timedelta(seconds=submission.timeout_seconds),
            settings=self.settings,
            artifacts=self.artifacts,
            engines=self.engines,
            log=structlog.get_logger("penstock.handler").bind(task_id=entry.task_id, attempt=state.attempt),
            port=reports,
        )
        return await run_handler(handler, submission.payload, context)

    def failed(self, error: TaskError) -> Fail:
        """The command for an attempt that failed."""
        return Fail(
            at=datetime.now(UTC),
            code=error.code,
            detail=error.detail[:DETAIL_LENGTH_MAX],
            retryable=error.retryable,
            retry_after_seconds=error.retry_after_seconds,
            jitter=random.random(),  # noqa: S311 - spreads retries, protects nothing
            policy=self.retry,
        )

    def stopped(self, entry: Entry) -> OwnerCommand | None:
        """The command for an attempt that was cancelled, and has ended; None when its shard was lost."""
        at = datetime.now(UTC)
        match entry.stop:
            case Stop.CANCEL:
                return ConfirmCancel(at=at, reason="stopped on request")
            case Stop.SHUTDOWN:
                return Release(at=at, reason="its worker shut down")
            case None if entry.lost:
                return None
            case None:
                detail = "the handler raised CancelledError although nobody had asked it to stop"
                return self.failed(TaskError("handler_error", detail, retryable=True))
