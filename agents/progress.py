"""Progress of running attempts, on its way to task-progress: pieces of one task are joined for 50 ms."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Protocol

from agents.context import Progress
from schemas.envelope import rfc3339
from streams.log import LogUnavailable, RecordTooLarge

JOIN_SECONDS = 0.05


class ReportLog(Protocol):
    """What reports need of `streams.log.EventLog`."""

    async def progress(self, task_id: str, report: Mapping[str, object]) -> None:
        """See `EventLog.progress`."""


class ProgressReports:
    """The reports of one attempt."""

    def __init__(self, log: ReportLog, task_id: str, attempt: int) -> None:
        self._log, self._task_id, self._attempt = log, task_id, attempt
        self._joined: dict[str, Any] = {}
        self._sequence = 0
        self._sending: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def progress(self, progress: Progress) -> None:
        """See `AttemptPort.progress`."""
        if progress.percent is not None:
            self._joined["percent"] = progress.percent
        if progress.message is not None:
            self._joined["message"] = progress.message
        if progress.delta is not None:
            self._joined["delta"] = self._joined.get("delta", "") + progress.delta
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_soon())

    async def close(self) -> None:
        """Send what is left."""
        self._closing.set()
        if self._sending is not None:
            await self._sending

    async def _send_soon(self) -> None:
        while self._joined:
            with suppress(TimeoutError):
                async with asyncio.timeout(JOIN_SECONDS):
                    await self._closing.wait()
            await self._send()

    async def _send(self) -> None:
        joined, self._joined = self._joined, {}
        self._sequence += 1
        report = {
            "task_id": self._task_id,
            "attempt": self._attempt,
            "sequence": self._sequence,
            "at": rfc3339(datetime.now(UTC)),
            **joined,
        }
        try:
            await self._log.progress(self._task_id, report)
        except (LogUnavailable, RecordTooLarge) as error:
            logging.getLogger(__name__).warning("a progress report is lost: %s", error)
