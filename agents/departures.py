"""How a task leaves a window without having ended: held outside all windows, or routed to another owner.

The fact comes first, then the copy where there is one, and only then is the old record let go. So a crash between any
two of them leaves a record whose next owner finds the fact and does the rest; see `agents.claims`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from agents.entries import Entry
from agents.outbox import RETRY_SECONDS
from agents.window import Window
from domain.decide import Fail, Hold, OwnerCommand, Queue
from domain.decide import Route as RouteCommand
from domain.routing import Route
from domain.states import TaskStatus
from domain.task import TaskState
from schemas.events import TaskSubmitted
from streams.log import EventLog, LogUnavailable
from streams.state_header import STATE_HEADER, state_header

Commit = Callable[[Entry, OwnerCommand, Callable[[], None]], bool]


class Router(Protocol):
    """Asked where tasks go. Answers at once, from what is known; pure rules are in `domain.routing`."""

    def entering(self, submission: TaskSubmitted, state: TaskState) -> Route | None:
        """Where a task goes that begins to wait here; None: it stays. Asked again for each attempt."""

    def failed(self, submission: TaskSubmitted, state: TaskState, failure: Fail) -> Route | None:
        """Where a task goes whose attempt has failed; None: it is tried again here, or has failed for good."""


class NoRouter:
    """Every task stays where it is. See `Router`."""

    def entering(self, submission: TaskSubmitted, state: TaskState) -> Route | None:
        """See `Router.entering`."""
        return None

    def failed(self, submission: TaskSubmitted, state: TaskState, failure: Fail) -> Route | None:
        """See `Router.failed`."""
        return None


class Departures:
    """`let_go` is called with an entry when the log has all that must be in it before its record may be let go."""

    def __init__(self, log: EventLog, window: Window, commit: Commit, let_go: Callable[[Entry], None]) -> None:
        self._log, self._window, self._commit, self._let_go = log, window, commit, let_go
        self._copying: set[asyncio.Task[None]] = set()
        self._logger = logging.getLogger(__name__)

    def hold(self, entry: Entry, reason: str, now_ms: int) -> None:
        """The task waits outside all windows from now on; whoever ends the hold appends what it carries."""
        value = entry.record.value
        assert value is not None, "a record that became an entry has a value"
        self._window.discard(entry, now_ms)
        entry.leaving = True
        at = datetime.now(UTC)
        hold = Hold(at=at, reason=reason, until=entry.state.due_at, submission=value)
        if entry.state.status is TaskStatus.HELD:
            # It came back from a hold: another one begins, which must be told from the one that has been ended.
            self._commit(entry, Queue(at=at), _nothing)
        self._commit(entry, hold, lambda: self._let_go(entry))

    def route(self, entry: Entry, route: Route, now_ms: int) -> None:
        """The task goes to the owner of another model from now on."""
        self._window.discard(entry, now_ms)
        entry.leaving = True
        command = RouteCommand(
            at=datetime.now(UTC), model=route.model, routing_key=route.routing_key, reason=route.reason
        )
        self._commit(entry, command, lambda: self.pass_on(entry))

    def pass_on(self, entry: Entry) -> None:
        """Append the task where its routing key leads, for as long as it takes."""
        copying = asyncio.get_running_loop().create_task(self._copy(entry))
        self._copying.add(copying)
        copying.add_done_callback(self._copying.discard)

    async def _copy(self, entry: Entry) -> None:
        # It leaves no more when its own copy has come back to this worker.
        while entry.leaving and not entry.lost:
            try:
                await self._append(entry)
                self._let_go(entry)
                return
            except LogUnavailable as error:
                self._logger.warning("a routed task waits for the log: %s", error, extra={"task_id": entry.task_id})
                await asyncio.sleep(RETRY_SECONDS)

    async def _append(self, entry: Entry) -> None:
        record, key = entry.record, entry.state.routing_key or entry.submission.routing_key
        headers = [(name, value) for name, value in record.headers.items() if name != STATE_HEADER]
        headers.append((STATE_HEADER, state_header(entry.state)))
        await self._log.acknowledged(await self._log.append(record.topic, record.value, key.encode(), headers))


def _nothing() -> None:
    return None
