"""Accepting work: one record in the log, and the same task for whoever asks for it again."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from weakref import WeakValueDictionary

from api.lookup import Lookup
from api.ports import ApiSettings, Log, TaskRow
from api.problems import ID_TAKEN, KEY_REUSED, Problem, invalid
from api.queues import Queues
from api.recent import RecentTasks
from api.watermark import Watermark
from domain import decide, holds
from domain.catalogue import Catalogue
from domain.errors import Flaw, IllegalTransition
from domain.states import TERMINAL, TaskStatus
from domain.submission import derived_id, submitted
from schemas.codec import encode
from schemas.commands import CancelTask
from schemas.events import TaskSubmitted
from streams.held_work import held
from streams.log import LogUnavailable
from streams.ports import ReadModelUnavailable

logger = logging.getLogger(__name__)

#: What makes two submissions the same request, and what a field is called at the door; times have a rule of their own.
_IDENTITY = {
    **{name: name for name in ("type", "tenant", "priority", "model", "callback_url", "depends_on")},
    **{name: name for name in ("on_dependency_failure", "route_by", "fallbacks")},
    "timeout_seconds": "timeout",
    "attempts_max": "max_retries",
    "estimated_seconds": "estimated_time",
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """A task that the log holds; `repeated` if it was there before this request."""

    row: TaskRow
    repeated: bool


class Submissions:
    """The moves of the API that write to the log."""

    def __init__(
        self,
        *,
        settings: ApiSettings,
        catalogue: Catalogue,
        log: Log,
        queues: Queues,
        lookup: Lookup,
        recent: RecentTasks,
        watermark: Watermark,
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._log = log
        self._queues = queues
        self._lookup = lookup
        self._recent = recent
        self._watermark = watermark
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        #: The read model shows all that was accepted before this process began.
        self._caught_up = asyncio.Event()

    async def submit(self, body: bytes, key: str | None, traceparent: str | None) -> Accepted:
        """Accept a submission.

        Raises:
            InvalidSubmission, SubmissionTooLarge, Problem, LogUnavailable: it was not accepted; after LogUnavailable
                it may have been.
        """
        new_id = str(uuid.uuid4())
        task = submitted(
            body,
            self._catalogue,
            at=datetime.now(UTC),
            new_id=new_id,
            defaults=self._settings.defaults,
            source="http",
            idempotency_key=key,
            traceparent=traceparent,
        )
        if task.resource_class not in self._settings.classes:
            raise invalid(Flaw("/type", f"its resource class {task.resource_class!r} is not set up here"))
        if task.task_id == new_id:
            return Accepted(await self._append(task), repeated=False)
        async with self._lock(task.task_id):
            before = await self._before(task.task_id)
            if before is None:
                return Accepted(await self._append(task), repeated=False)
        _check_same(task, before, by_key=task.task_id == derived_id(task.tenant, key))
        return Accepted(before, repeated=True)

    async def retry(self, task_id: str) -> TaskRow:
        """Run the task once more; asking twice before anything has come of it starts one run.

        Raises:
            Problem, IllegalTransition, LogUnavailable, ReadModelUnavailable: it does not run again.
        """
        async with self._lock(task_id):
            row = await self._lookup.get(task_id)
            accepted = self._recent.get(task_id)
            if row is accepted and row.state.run > 1:
                return row
            return await self._append(decide.retry(row.state, datetime.now(UTC)))

    async def cancel(self, task_id: str) -> TaskRow:
        """Ask for the task's end; the row as it was. Nothing is asked of a task that is cancelled or cancelling.

        Raises:
            Problem, IllegalTransition, LogUnavailable, ReadModelUnavailable: it goes on.
        """
        row = await self._lookup.get(task_id)
        status = row.state.status
        if status in (TaskStatus.CANCELLED, TaskStatus.CANCELLING):
            return row
        if status in TERMINAL:
            raise IllegalTransition(task_id, "cancel", str(status))
        await self._log.command(CancelTask(task_id=task_id, requested_at=datetime.now(UTC), run=max(row.state.run, 1)))
        return row

    def _lock(self, task_id: str) -> asyncio.Lock:
        return self._locks.setdefault(task_id, asyncio.Lock())

    async def _append(self, task: TaskSubmitted) -> TaskRow:
        if task.depends_on and task.run > 1 and not task.sequence:
            # Intake takes first runs only; what a released task has taken from results, it has.
            await self._log.fact(held(task, encode(task), holds.DEPENDENCIES, None, task.occurred_at))
        elif task.run == 1 and (task.run_at is not None or task.depends_on):
            await self._log.hold(task)
        else:
            async with self._queues.place(task.resource_class) as place:
                place.taken(await self._log.submit(task))
        return self._recent.remember(task)

    async def _before(self, task_id: str) -> TaskRow | None:
        """The task that has this id already.

        Without the read model a repeat is appended once more. The task's owner recognises it by its event id while it
        remembers the task; a repeat of one that ended long ago, met by such an outage, runs again.
        """
        if (accepted := self._recent.get(task_id)) is not None:
            return accepted
        try:
            # Bounded: a PostgreSQL that hangs must not hold up what the log can take.
            async with asyncio.timeout(2 * self._settings.lag_seconds_max):
                await self._catch_up()
                return await self._lookup.seen(task_id)
        except (LogUnavailable, ReadModelUnavailable, TimeoutError) as error:
            logger.warning("accepting %s unseen: %s", task_id, str(error) or type(error).__name__)
            return None

    async def _catch_up(self) -> None:
        """Once after the start: what an earlier process accepted last may still be on its way to the read model."""
        if not self._caught_up.is_set() and await self._watermark.passed(self._settings.lag_seconds_max):
            self._caught_up.set()


def _check_same(task: TaskSubmitted, before: TaskRow, *, by_key: bool) -> None:
    differing = differences(task, before.state.submission)
    if not differing:
        return
    flaws = [Flaw(f"/{name}", "differs from the first request") for name in differing]
    kind, what = (KEY_REUSED, "the idempotency key") if by_key else (ID_TAKEN, "the id")
    detail = f"{what} belongs to task {task.task_id}, which differs in {', '.join(differing)}"
    raise Problem(kind, detail, flaws=flaws, task_id=task.task_id)


def differences(task: TaskSubmitted, before: TaskSubmitted | None) -> Sequence[str]:
    """In what a repeated request differs from the task that it would be; nothing means that it is the same one."""
    if before is None:
        return ("type",)
    names = [said for name, said in _IDENTITY.items() if getattr(task, name) != getattr(before, name)]
    # Of a task that was released after others, the payload holds what it took from their results.
    compared = ("metadata",) if before.sequence else ("payload", "metadata")
    names += [name for name in compared if _parsed(task, name) != _parsed(before, name)]
    names += [
        said for name, said in (("run_at", "run_at"), ("deadline_at", "deadline")) if not _same_time(name, task, before)
    ]
    return names


def _same_time(name: str, task: TaskSubmitted, before: TaskSubmitted) -> bool:
    """Whether both were given the same moment, or the same time from their submission on."""
    asked, had = getattr(task, name), getattr(before, name)
    # A moment turns into None once it has passed, and so do the times of a task that is run again by hand.
    if asked is None or asked == had or before.run > 1:
        return True
    return had is not None and asked - task.occurred_at == had - before.occurred_at


def _parsed(task: TaskSubmitted, name: str) -> Any:
    return json.loads(getattr(task, name))
