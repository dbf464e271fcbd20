"""What one running attempt tells its worker: progress, signs of life, checkpoints, usage."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from agents.context import Progress
from agents.engines.yielding import Checkpoints
from agents.entries import Entry
from agents.progress import ProgressReports, ReportLog


class LivePort:
    """See `agents.context.AttemptPort`."""

    def __init__(self, log: ReportLog, entry: Entry) -> None:
        self._entry = entry
        self._reports = ProgressReports(log, entry.task_id, entry.state.attempt)
        self._checkpoints = Checkpoints(self.kept, asyncio.get_running_loop().time)
        #: Called at each sign of life.
        self.on_alive: Callable[[], None] = lambda: None
        #: The latest state to go on from, as JSON text.
        self.checkpointed: str | None = None
        #: What the attempt has used so far, by name.
        self.usage: dict[str, float] = {}

    async def progress(self, progress: Progress) -> None:
        """See `AttemptPort.progress`."""
        self.on_alive()
        await self._reports.progress(progress)

    async def heartbeat(self) -> None:
        """See `AttemptPort.heartbeat`."""
        self.on_alive()

    async def checkpoint(self, state: object) -> None:
        """See `AttemptPort.checkpoint`."""
        self.on_alive()
        asked = self._entry.yield_asked
        self._checkpoints.reached(state, asked is not None and asked.is_set())

    def kept(self, checkpoint: str) -> None:
        """See `AttemptPort.kept`."""
        self.checkpointed = checkpoint

    def used(self, usage: Mapping[str, float]) -> None:
        """See `AttemptPort.used`."""
        self.usage |= usage

    @property
    def tokens(self) -> float | None:
        """Tokens that the attempt has used; None where it told none."""
        found = [self.usage[name] for name in ("prompt_tokens", "completion_tokens") if name in self.usage]
        return sum(found) if found else None

    @property
    def yield_asked(self) -> asyncio.Event | None:
        """See `AttemptPort.yield_asked`."""
        return self._entry.yield_asked

    def not_preemptible(self) -> None:
        """See `AttemptPort.not_preemptible`."""
        self._entry.preemptible = False

    async def close(self) -> None:
        """Send what is left of the reports."""
        await self._reports.close()
