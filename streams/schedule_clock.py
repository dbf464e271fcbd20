"""Submits the tasks of schedules at their times, by way of tasks-intake, where a repeat is recognised by its id.

Which ticks have been submitted is read from the tasks themselves, so that nothing is kept beside the log: a leader that
dies between two ticks, or in the middle of one, has a successor that goes on from there.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from domain.catalogue import Catalogue
from domain.configuration import Configuration, Schedule
from domain.cron import CatchUp, Cron, InvalidCron, due
from domain.errors import InvalidSubmission, SubmissionTooLarge
from domain.schedules import SOURCE, rule_of, tick_id, tick_of, tick_task
from domain.submission import SubmissionDefaults
from schemas.events import TaskRejected
from streams import topics
from streams.ports import Appends, IntakeReadModel

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Running:
    """A schedule whose last tick is known."""

    schedule: Schedule
    rule: Cron
    last: datetime
    #: None: it ticks no more.
    next: datetime | None


class ScheduleClock:
    """Takes its turns in the process that leads; see `streams.leading`."""

    def __init__(
        self, log: Appends, tasks: IntakeReadModel, catalogue: Catalogue, defaults: SubmissionDefaults
    ) -> None:
        self._log, self._tasks = log, tasks
        self._catalogue, self._defaults = catalogue, defaults
        self._schedules: Mapping[str, Schedule] = {}
        self._running: dict[str, _Running] = {}

    def configure(self, configuration: Configuration) -> None:
        """The schedules as they are from now on."""
        self._schedules = configuration.schedules

    async def turn(self, at: datetime) -> None:
        """Submit what is due.

        Raises:
            LogUnavailable, ReadModelUnavailable: the next turn does it.
        """
        await self._take_up(at)
        for running in self._running.values():
            if running.next is not None and running.next <= at:
                await self._submit(running, at)

    async def watch(self, at: datetime) -> None:
        """Another process submits; what it has done is read from the tasks when this one takes over."""
        self._running.clear()

    async def _take_up(self, at: datetime) -> None:
        """Learn where schedules stand that are new here, and forget those that are gone."""
        known = {name: each for name, each in self._running.items() if self._schedules.get(name) == each.schedule}
        new = [schedule for name, schedule in self._schedules.items() if name not in known]
        ticked = await self._tasks.last_ticks([each.schedule_id for each in new]) if new else {}
        for schedule in new:
            try:
                rule = rule_of(schedule)
            except InvalidCron as error:
                logger.error("schedule %s stands still: %s", schedule.schedule_id, error)
                continue
            before = self._running.get(schedule.schedule_id)
            last = tick_of(schedule.schedule_id, ticked.get(schedule.schedule_id, ""))
            moments = (schedule.defined_at, last, before.last if before else None)
            latest = max(each for each in moments if each is not None)
            known[schedule.schedule_id] = _Running(schedule, rule, latest, next(rule.after(latest), None))
        self._running = known

    async def _submit(self, running: _Running, at: datetime) -> None:
        schedule = running.schedule
        ticks = due(running.rule, cast("CatchUp", schedule.catch_up), running.last, at)
        futures = []
        for tick in ticks:
            try:
                task = tick_task(schedule, tick, self._catalogue, self._defaults)
            except (InvalidSubmission, SubmissionTooLarge) as error:
                futures.append(await self._log.record(_rejected(schedule, tick, at, error)))
            else:
                futures.append(await self._log.send(task, topics.INTAKE, task.task_id))
        await self._log.all_acknowledged(futures)
        if ticks:
            logger.info("action=tick schedule=%s ticks=%d last=%s", schedule.schedule_id, len(ticks), ticks[-1])
        # Older ticks that catching up leaves out are left out for good.
        running.last = max([at.replace(microsecond=0), *ticks])
        running.next = next(running.rule.after(running.last), None)


def _rejected(schedule: Schedule, tick: datetime, at: datetime, error: Exception) -> TaskRejected:
    """What was accepted when the schedule was made, and is no longer: its type is gone, say."""
    return TaskRejected(
        task_id=tick_id(schedule.schedule_id, tick),
        occurred_at=at,
        sequence=1,
        error_code="invalid_submission" if isinstance(error, InvalidSubmission) else "too_large",
        error_detail=str(error),
        origin=f"{SOURCE}/{schedule.schedule_id}",
    )
