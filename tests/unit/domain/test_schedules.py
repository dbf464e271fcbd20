"""Schedules: what is refused when one is made, and the task of a tick."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.configuration import Schedule
from domain.errors import InvalidSubmission
from domain.schedules import schedule_defined, tick_id, tick_of, tick_task
from domain.submission import SubmissionDefaults
from schemas.configuration import ScheduleDefined
from tests.support.memory_world import CATALOGUE

AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
ECHO: dict[str, Any] = {"type": "echo", "payload": {"text": "x"}}


def defined(**fields: Any) -> ScheduleDefined:
    document = {"id": "nightly", "cron": "0 1 * * *", "submission": ECHO} | fields
    return schedule_defined(
        json.dumps(document),
        CATALOGUE,
        at=AT,
        new_id="new",
        change_id="c",
        changed_by="me",
        defaults=SubmissionDefaults(),
    )


def test_what_is_left_out_gets_the_defaults() -> None:
    made = defined(id=None)
    assert (made.schedule_id, made.time_zone, made.catch_up, made.changed_at) == ("new", "UTC", "last", AT)
    assert json.loads(made.submission) == ECHO


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"cron": "never"}, "/cron"),
        ({"time_zone": "Mars/Olympus"}, "/time_zone"),
        ({"catch_up": "some"}, "/catch_up"),
        ({"id": "a@b"}, "/id"),
        ({"submission": ECHO | {"id": "x"}}, "/submission/id"),
        ({"submission": ECHO | {"depends_on": ["x"]}}, "/submission/depends_on"),
        ({"submission": ECHO | {"run_at": "2030-01-01T00:00:00Z"}}, "/submission/run_at"),
        ({"submission": ECHO | {"deadline": "2030-01-01T00:00:00Z"}}, "/submission/deadline"),
        ({"submission": {"type": "echo"}}, "/submission/payload/text"),
        ({"submission": {"type": "nothing"}}, "/submission/type"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_made(fields: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidSubmission) as raised:
        defined(**fields)
    assert [flaw.pointer for flaw in raised.value.flaws] == [pointer]


def test_a_tick_is_one_task_whoever_submits_it() -> None:
    submission = json.dumps(ECHO | {"delay": "10m", "deadline": "1h", "tenant": "acme"})
    schedule = Schedule("nightly", "0 1 * * *", "UTC", submission, "last", AT)
    tick = datetime(2026, 11, 22, 1, tzinfo=UTC)
    task = tick_task(schedule, tick, CATALOGUE, SubmissionDefaults())
    assert task == tick_task(schedule, tick, CATALOGUE, SubmissionDefaults())
    assert (task.task_id, task.schedule_id, task.tenant) == ("nightly@2026-11-22T01:00:00Z", "nightly", "acme")
    assert (task.run_at, task.deadline_at) == (tick + timedelta(minutes=10), tick + timedelta(hours=1))


def test_the_tick_reads_from_the_id() -> None:
    assert tick_of("nightly", tick_id("nightly", AT)) == AT
    for other in ("nightly", "nightly@now", "nightly@2026-11-21T9:30:00Z", "other@2026-11-21T09:30:00Z"):
        assert tick_of("nightly", other) is None
