"""Starts waiting tasks while slots are free, and hands their ends to the owner."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from datetime import UTC, datetime, timedelta

from agents.attempts import AttemptRunner
from agents.outbox import Outbox
from agents.owner import Owner
from agents.window import Entry, Stop, Window
from domain.decide import Fail, OwnerCommand, Queue, Start
from domain.errors import TaskError

#: A wait of at least this long is worth a fact of its own; shorter ones show in the time of the start.
NOTICE_SECONDS = 1.0
#: Notices of one look: bounds what a start may find before it on its way to the log.
NOTICES_MAX = 100
#: How long attempts that were told to stop may take to do so, when the worker leaves.
STOP_SECONDS_MAX = 1.0
#: Longest sleep without a reason: bounds how late a due task or a notice is.
TICK_SECONDS = 0.25


class Dispatcher:
    """One for each worker; `slots` attempts run at a time."""

    def __init__(self, window: Window, outbox: Outbox, runner: AttemptRunner, slots: int) -> None:
        self._window, self._outbox, self._runner = window, outbox, runner
        self._slots = slots
        self._active: set[Entry] = set()
        self._executions: set[asyncio.Task[OwnerCommand | None]] = set()
        self._wake = asyncio.Event()
        self._draining = False
        self._worker = f"{socket.gethostname()}/{os.getpid()}"
        self._log = logging.getLogger(__name__)

    @property
    def active(self) -> int:
        """Attempts that occupy a slot."""
        return len(self._active)

    def wake(self) -> None:
        """Something changed: look again for a task to start."""
        self._wake.set()

    async def run(self, owner: Owner) -> None:
        """Dispatch for ever."""
        while True:
            if owner.settled and not self._draining:
                now = datetime.now(UTC)
                self._window.wake_due(now)
                self._notice_waits(owner, now)
                self._start_what_fits(owner, now)
            try:
                async with asyncio.timeout(self._sleep_seconds(owner)):
                    await self._wake.wait()
            except TimeoutError:
                continue
            self._wake.clear()

    async def drain(self, seconds: float) -> None:
        """Start nothing more; let running attempts finish, then hand back those that have not."""
        self._draining = True
        if self._executions:
            await asyncio.wait(self._executions, timeout=seconds)
        for entry in list(self._active):
            entry.stop = entry.stop or Stop.SHUTDOWN
            if entry.execution is not None:
                entry.execution.cancel()
        if self._executions:
            await asyncio.wait(self._executions, timeout=STOP_SECONDS_MAX)

    def _sleep_seconds(self, owner: Owner) -> float:
        due_at = self._window.next_due_at()
        if due_at is None or not owner.settled or self._draining:
            return TICK_SECONDS
        return min(TICK_SECONDS, max(0.0, (due_at - datetime.now(UTC)) / timedelta(seconds=1)))

    def _start_what_fits(self, owner: Owner, now: datetime) -> None:
        # The start of a task of a lost shard is never acknowledged, so nothing else frees its slot.
        self._active = {entry for entry in self._active if not entry.lost or entry.execution is not None}
        now_ms = int(now.timestamp() * 1000)
        while len(self._active) < self._slots and (entry := self._window.take(now_ms)) is not None:
            if entry.state.attempts_left:
                self._start(owner, entry, now)
            else:
                self._give_up(owner, entry, now)

    def _start(self, owner: Owner, entry: Entry, now: datetime) -> None:
        self._active.add(entry)
        entry.stop = None
        version = self._runner.handler_version(entry.submission.type)
        start = Start(at=now, worker=self._worker, handler_version=version)
        owner.commit(entry, start, lambda: self._execute(owner, entry))

    def _give_up(self, owner: Owner, entry: Entry, now: datetime) -> None:
        self._window.ended(entry)
        detail = f"all {entry.submission.attempts_max} attempts of this run are used up"
        give_up = Fail(at=now, code="attempts_exhausted", detail=detail, retryable=False)
        owner.commit(entry, give_up, lambda: owner.settle(entry))

    def _execute(self, owner: Owner, entry: Entry) -> None:
        """The log has the start: run the handler, unless the task was stopped meanwhile."""
        if entry.stop is not None or entry.lost:
            self._end(owner, entry, self._runner.stopped(entry))
            return
        execution = asyncio.get_running_loop().create_task(self._runner.run(entry))
        entry.execution = execution
        self._executions.add(execution)
        execution.add_done_callback(lambda done: self._executed(owner, entry, done))

    def _executed(self, owner: Owner, entry: Entry, execution: asyncio.Task[OwnerCommand | None]) -> None:
        self._executions.discard(execution)
        entry.execution = None
        if execution.cancelled():
            # Cancelled before it took its first step.
            self._end(owner, entry, self._runner.stopped(entry))
        elif error := execution.exception():
            self._log.error("an attempt broke its runner", exc_info=error, extra={"task_id": entry.task_id})
            detail = f"{type(error).__name__}: {error}"
            self._end(owner, entry, self._runner.failed(TaskError("internal_error", detail, retryable=True)))
        else:
            self._end(owner, entry, execution.result())

    def _end(self, owner: Owner, entry: Entry, command: OwnerCommand | None) -> None:
        self._active.discard(entry)
        self._window.ended(entry)
        self._wake.set()
        if command is not None and not entry.lost:
            owner.commit(entry, command, lambda: owner.settle(entry))

    def _notice_waits(self, owner: Owner, now: datetime) -> None:
        if len(self._outbox):
            # A start must not wait behind the notices of a whole backlog.
            return
        for entry in self._window.unnoticed(asyncio.get_running_loop().time(), NOTICE_SECONDS, NOTICES_MAX):
            owner.commit(entry, Queue(at=now), lambda: None)
