"""Schedules: what is checked when one is made, and the task of each tick. Pure.

The task of a tick is called by schedule and tick, `nightly@2026-11-21T01:00:00Z`: however many processes submit it, and
however often, it is one task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import from_json

from domain.catalogue import Catalogue
from domain.configuration import Schedule
from domain.cron import Cron, InvalidCron, cron
from domain.errors import Flaw, InvalidSubmission
from domain.submission import SubmissionDefaults, flaws_of, submitted
from schemas import submission as shapes
from schemas.configuration import ScheduleDefined
from schemas.events import TaskSubmitted

SOURCE: Final = "schedule"
_TICK: Final = "%Y-%m-%dT%H:%M:%SZ"
#: What belongs to one task, and so to no schedule.
_ONCE: Final = ("id", "run_at", "depends_on")


def schedule_defined(
    document: Mapping[str, Any] | bytes | str,
    catalogue: Catalogue,
    *,
    at: datetime,
    new_id: str,
    change_id: str,
    changed_by: str,
    defaults: SubmissionDefaults,
) -> ScheduleDefined:
    """The change that makes a schedule, checked: its times can come, and its tasks will be accepted.

    Raises:
        InvalidSubmission, SubmissionTooLarge: it cannot be.
    """
    try:
        raw = from_json(document) if isinstance(document, bytes | str) else document
        shape = shapes.Schedule.model_validate(raw)
    except ValidationError as error:
        raise InvalidSubmission(flaws_of(error)) from error
    except ValueError as error:
        raise InvalidSubmission([Flaw("", f"is not JSON: {error}")]) from error
    written = raw["submission"]
    flaws = [Flaw(f"/submission/{name}", "belongs to one task only") for name in _ONCE if written.get(name)]
    if isinstance(shape.submission.deadline, datetime):
        flaws.append(Flaw("/submission/deadline", "must be a duration: it counts from each tick"))
    try:
        cron(shape.cron, shape.time_zone)
    except InvalidCron as error:
        flaws.append(Flaw(f"/{error.field}", str(error)))
    if flaws:
        raise InvalidSubmission(flaws)
    definition = ScheduleDefined(
        change_id=change_id,
        changed_at=at,
        changed_by=changed_by,
        schedule_id=shape.id or new_id,
        cron=shape.cron,
        time_zone=shape.time_zone,
        submission=json.dumps(written, separators=(",", ":"), ensure_ascii=False),
        catch_up=shape.catch_up,
    )
    try:
        _task(definition.schedule_id, definition.submission, at, catalogue, defaults)
    except InvalidSubmission as error:
        raise InvalidSubmission([Flaw(f"/submission{each.pointer}", each.detail) for each in error.flaws]) from error
    return definition


def rule_of(schedule: Schedule) -> Cron:
    """When it ticks.

    Raises:
        InvalidCron: it was made by somebody else, or under another database of time zones.
    """
    return cron(schedule.cron, schedule.time_zone)


def tick_task(schedule: Schedule, tick: datetime, catalogue: Catalogue, defaults: SubmissionDefaults) -> TaskSubmitted:
    """The task of a tick; delays and deadlines count from the tick.

    Raises:
        InvalidSubmission, SubmissionTooLarge: its type or payload is no longer accepted.
    """
    return _task(schedule.schedule_id, schedule.submission, tick, catalogue, defaults)


def tick_id(schedule_id: str, tick: datetime) -> str:
    """Id of the task of a tick."""
    return f"{schedule_id}@{tick.astimezone(UTC):{_TICK}}"


def tick_of(schedule_id: str, task_id: str) -> datetime | None:
    """The tick whose task it is; None where it is no task of the schedule."""
    prefix, _, text = task_id.rpartition("@")
    if prefix != schedule_id:
        return None
    try:
        tick = datetime.strptime(text, _TICK).replace(tzinfo=UTC)
    except ValueError:
        return None
    return tick if tick_id(schedule_id, tick) == task_id else None


def _task(
    schedule_id: str, submission: str, tick: datetime, catalogue: Catalogue, defaults: SubmissionDefaults
) -> TaskSubmitted:
    document = {**json.loads(submission), "id": tick_id(schedule_id, tick)}
    task = submitted(document, catalogue, at=tick, new_id="", defaults=defaults, source=SOURCE)
    return replace(task, schedule_id=schedule_id)
