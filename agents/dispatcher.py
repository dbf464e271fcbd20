"""Starts waiting tasks while slots are free, and hands their ends to the owner."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from agents.attempts import AttemptEnd, AttemptRunner
from agents.entries import Entry, Stop
from agents.gatekeeper import Gatekeeper
from agents.outbox import Outbox
from agents.owner import Owner
from agents.running import RunningAttempts, ask_to_yield
from agents.steering import Steering
from agents.wait_accounts import WaitAccounts
from agents.window import Window
from domain.configuration import Configuration
from domain.decide import Expire, Queue, Start
from domain.errors import TaskError
from domain.strategies.strategy import Refuser, Waiting

#: A wait of at least this long is worth a fact of its own; shorter ones show in the time of the start.
NOTICE_SECONDS = 1.0
#: Notices of one look: bounds what a start may find before it on its way to the log.
NOTICES_MAX = 100
#: Holds of one look, and facts on their way that keep more from being decided.
HOLDS_MAX = 500
#: How long attempts that were told to stop may take to do so, when the worker leaves.
STOP_SECONDS_MAX = 1.0
#: Longest sleep without a reason: bounds how late a due task or a notice is.
TICK_SECONDS = 0.25


class Dispatcher:
    """One for each worker."""

    def __init__(
        self,
        window: Window,
        outbox: Outbox,
        runner: AttemptRunner,
        running: RunningAttempts,
        gatekeeper: Gatekeeper,
        steering: Steering,
        accounts: WaitAccounts,
    ) -> None:
        self._window, self._outbox, self._runner = window, outbox, runner
        self._running, self._gatekeeper, self._steering, self._accounts = running, gatekeeper, steering, accounts
        self._executions: set[asyncio.Task[AttemptEnd]] = set()
        self._wake = asyncio.Event()
        self._draining = False
        #: Names this worker in the log.
        self.worker = f"{socket.gethostname()}/{os.getpid()}"
        self._log = logging.getLogger(__name__)
        gatekeeper.gates.on_open = gatekeeper.room.on_open = self._opened

    @property
    def active(self) -> int:
        """Attempts that occupy a slot."""
        return len(self._running)

    def wake(self) -> None:
        """Something changed: look again for a task to start."""
        self._wake.set()

    def arrived(self, entry: Entry) -> None:
        """The entry waits from now on."""
        self._steering.arrived(entry)
        self._wake.set()

    def configure(self, configuration: Configuration) -> None:
        """The configuration changed."""
        self._steering.configure(configuration)
        self._wake.set()

    async def run(self, owner: Owner) -> None:
        """Dispatch for ever."""
        while True:
            self._running.stop_lapsed()
            if owner.settled and not self._draining:
                self._look(owner, datetime.now(UTC))
            try:
                async with asyncio.timeout(self._sleep_seconds(owner)):
                    await self._wake.wait()
            except TimeoutError:
                continue
            self._wake.clear()

    async def drain(self, seconds: float) -> None:
        """Start nothing more; let running attempts finish or yield, then hand back those that have not."""
        self._draining = True
        for entry in self._running:
            ask_to_yield(entry)
        if self._executions:
            await asyncio.wait(self._executions, timeout=seconds)
        for entry in self._running:
            if entry.stop in (None, Stop.YIELD):
                entry.stop = Stop.SHUTDOWN
            if entry.execution is not None:
                entry.execution.cancel()
        if self._executions:
            await asyncio.wait(self._executions, timeout=STOP_SECONDS_MAX)

    def _look(self, owner: Owner, now: datetime) -> None:
        self._window.wake_due(now)
        self._expire(owner, now)
        self._hold(owner)
        self._notice_waits(owner, now)
        self._start_what_fits(owner, now)
        self._running.ask_for_slots(int(now.timestamp() * 1000))

    def _sleep_seconds(self, owner: Owner) -> float:
        next_at = self._window.next_at()
        if next_at is None or not owner.settled or self._draining:
            return TICK_SECONDS
        return min(TICK_SECONDS, max(0.0, (next_at - datetime.now(UTC)) / timedelta(seconds=1)))

    def _opened(self, refusers: Iterable[Refuser]) -> None:
        self._gatekeeper.open(refusers, datetime.now(UTC).timestamp() * 1000)
        self._wake.set()

    def _expire(self, owner: Owner, now: datetime) -> None:
        for entry in self._window.overdue(now):
            reason = f"it had not started at its deadline, {entry.submission.deadline_at}"
            self._window.discard(entry, int(now.timestamp() * 1000))
            owner.commit(entry, Expire(at=now, reason=reason), lambda entry=entry: owner.settle(entry))  # type: ignore[misc]

    def _hold(self, owner: Owner) -> None:
        room = HOLDS_MAX - len(self._outbox)
        if room > 0 and self._steering.hold_parked(owner.departures, room):
            self._wake.set()

    def _start_what_fits(self, owner: Owner, now: datetime) -> None:
        self._running.forget_lost()
        now_ms = int(now.timestamp() * 1000)
        self._gatekeeper.acquit(now_ms)

        def refuser(task: Waiting) -> Refuser | None:
            return self._gatekeeper.refuser(task, now_ms)

        while self._running.free > 0 and (entry := self._window.take(now_ms, refuser)) is not None:
            self._start(owner, entry, now)

    def _start(self, owner: Owner, entry: Entry, now: datetime) -> None:
        waited_ms = self._accounts.started(entry, now)
        self._running.add(entry, now.timestamp() * 1000)
        handler = self._runner.handler(entry.submission.type)
        entry.preemptible = handler is not None and handler.task_type.preemptible
        entry.yield_asked = asyncio.Event() if entry.preemptible else None
        start = Start(
            at=now,
            worker=self.worker,
            handler_version=0 if handler is None else handler.version,
            waited_ms=waited_ms,
            entered_at=entry.entered_at,
            strategy=self._steering.choice.name,
        )
        owner.commit(entry, start, lambda: self._execute(owner, entry))

    def _execute(self, owner: Owner, entry: Entry) -> None:
        """The log has the start: run the handler, unless the task was stopped meanwhile."""
        self._running.stop_lapsed()
        if entry.stop is not None or entry.lost:
            self._end(owner, entry, self._runner.stopped(entry))
            return
        if entry.view is not None and (error := self._gatekeeper.room.impossible(entry.view.lane)) is not None:
            self._end(owner, entry, self._runner.failed(error))
            return
        execution = asyncio.get_running_loop().create_task(self._runner.run(entry))
        entry.execution = execution
        self._executions.add(execution)
        execution.add_done_callback(lambda done: self._executed(owner, entry, done))

    def _executed(self, owner: Owner, entry: Entry, execution: asyncio.Task[AttemptEnd]) -> None:
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

    def _end(self, owner: Owner, entry: Entry, end: AttemptEnd) -> None:
        self._running.ended(entry, end)
        self._wake.set()
        if end.command is not None and not entry.lost:
            owner.ended(entry, end.command)

    def _notice_waits(self, owner: Owner, now: datetime) -> None:
        if len(self._outbox):
            # A start must not wait behind the notices of a whole backlog.
            return
        for entry in self._window.unnoticed(asyncio.get_running_loop().time(), NOTICE_SECONDS, NOTICES_MAX):
            owner.commit(entry, Queue(at=now), _nothing)


def _nothing() -> None:
    return None
