"""The clock of schedules: each tick is submitted once, whoever leads, and none is lost."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from domain.configuration import Configuration, Schedule
from domain.cron import PUNCTUAL_SECONDS
from domain.submission import SubmissionDefaults
from schemas.codec import encode
from schemas.events import TaskRejected, TaskSubmitted
from streams import topics
from streams.log import LogUnavailable
from streams.schedule_clock import ScheduleClock
from tests.support.memory_world import CATALOGUE, MemoryWorld
from tests.unit.streams.test_intake import Record, made

AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
EVERY_MINUTE = Schedule("often", "* * * * *", "UTC", '{"type":"echo","payload":{"text":"x"}}', "all", AT)


@pytest.fixture
def world() -> MemoryWorld:
    """A world in which everything works."""
    return MemoryWorld()


def clock(world: MemoryWorld, *schedules: Schedule) -> ScheduleClock:
    found = ScheduleClock(world.log, world.read_model, CATALOGUE, SubmissionDefaults())
    found.configure(Configuration(schedules={each.schedule_id: each for each in schedules}))
    return found


def sent(world: MemoryWorld) -> list[str]:
    return [task.task_id.rpartition("@")[2][11:16] for task in world.log.records[topics.INTAKE]]


async def take_in(world: MemoryWorld) -> None:
    """Intake and projector do their part."""
    records = [Record(encode(task), number) for number, task in enumerate(world.log.records[topics.INTAKE])]
    await made(world).copy(records, AT + timedelta(days=1))


async def test_each_tick_is_submitted_when_it_comes(world: MemoryWorld) -> None:
    service = clock(world, EVERY_MINUTE)
    for seconds in (0, 30, 59, 60, 61, 119, 120):
        await service.turn(AT + timedelta(seconds=seconds))
    assert sent(world) == ["09:31", "09:32"]
    await take_in(world)
    (first, _) = world.log.submissions
    assert (first.task_id, first.schedule_id, first.source) == ("often@2026-11-21T09:31:00Z", "often", "schedule")


async def test_a_successor_goes_on_where_the_tasks_say_that_its_predecessor_was(world: MemoryWorld) -> None:
    await clock(world, EVERY_MINUTE).turn(AT + 2 * MINUTE)
    await take_in(world)
    await clock(world, EVERY_MINUTE).turn(AT + 3 * MINUTE)
    assert sent(world) == ["09:31", "09:32", "09:33"]


async def test_two_leaders_at_once_make_one_task_of_each_tick(world: MemoryWorld) -> None:
    for _ in range(2):
        await clock(world, EVERY_MINUTE).turn(AT + 2 * MINUTE)
    assert len(world.log.records[topics.INTAKE]) == 4
    await take_in(world)
    assert [task.task_id[-9:] for task in world.log.submissions] == ["09:31:00Z", "09:32:00Z"]


async def test_an_outage_in_the_middle_loses_no_tick(world: MemoryWorld) -> None:
    service = clock(world, EVERY_MINUTE)
    await service.turn(AT)
    world.log.down = True
    with pytest.raises(LogUnavailable):
        await service.turn(AT + MINUTE)
    world.log.down = False
    await service.turn(AT + 2 * MINUTE)
    assert sent(world) == ["09:31", "09:32"]


async def test_one_that_led_before_learns_what_the_other_has_done(world: MemoryWorld) -> None:
    first, second = clock(world, EVERY_MINUTE), clock(world, EVERY_MINUTE)
    await first.turn(AT + MINUTE)
    await first.watch(AT + MINUTE)
    await take_in(world)
    await second.turn(AT + 2 * MINUTE)
    await take_in(world)
    await first.turn(AT + 3 * MINUTE)
    assert sent(world) == ["09:31", "09:32", "09:33"]


@pytest.mark.parametrize(("catch_up", "count"), [("none", 2), ("last", 2), ("all", 60)])
async def test_a_long_absence_is_caught_up_with_as_the_schedule_says(
    world: MemoryWorld, catch_up: str, count: int
) -> None:
    await clock(world, replace(EVERY_MINUTE, catch_up=catch_up)).turn(AT + 60 * MINUTE)
    assert len(sent(world)) == count
    assert PUNCTUAL_SECONDS == 120, "which two ticks lie within"


async def test_what_was_left_out_does_not_come_later(world: MemoryWorld) -> None:
    service = clock(world, replace(EVERY_MINUTE, cron="0 9 * * *", catch_up="none", defined_at=AT - timedelta(days=3)))
    await service.turn(AT)
    await service.turn(AT + MINUTE)
    assert sent(world) == []
    await service.turn(AT.replace(hour=9, minute=0) + timedelta(days=1))
    assert sent(world) == ["09:00"]


async def test_a_schedule_that_is_removed_or_made_anew_counts_from_then(world: MemoryWorld) -> None:
    service = clock(world, EVERY_MINUTE)
    await service.turn(AT + MINUTE)
    service.configure(Configuration())
    await service.turn(AT + 2 * MINUTE)
    hourly = replace(EVERY_MINUTE, cron="0 * * * *", defined_at=AT + 5 * MINUTE)
    service.configure(Configuration(schedules={"often": hourly}))
    await service.turn(AT + 29 * MINUTE)
    await service.turn(AT + 30 * MINUTE)
    assert sent(world) == ["09:31", "10:00"]


async def test_a_tick_whose_task_is_no_longer_accepted_is_on_record(world: MemoryWorld) -> None:
    service = clock(world, replace(EVERY_MINUTE, submission='{"type":"gone"}'), replace(EVERY_MINUTE, schedule_id="b"))
    await service.turn(AT + MINUTE)
    (fact,) = world.log.records[topics.LIFECYCLE]
    assert isinstance(fact, TaskRejected)
    assert (fact.task_id, fact.origin) == ("often@2026-11-21T09:31:00Z", "schedule/often")
    assert sent(world) == ["09:31"], "the other schedule goes on"


async def test_a_zone_that_is_unknown_here_stops_only_its_schedule(world: MemoryWorld) -> None:
    service = clock(world, replace(EVERY_MINUTE, time_zone="Mars/Olympus"), replace(EVERY_MINUTE, schedule_id="b"))
    await service.turn(AT + MINUTE)
    assert sent(world) == ["09:31"]


async def test_an_outsider_cannot_claim_a_schedule_by_another_name(world: MemoryWorld) -> None:
    task = TaskSubmitted(
        task_id="mine",
        occurred_at=AT,
        type="echo",
        resource_class="cpu",
        routing_key="mine",
        payload='{"text":"x"}',
        schedule_id="often",
        workflow_id="w",
    )
    await made(world).copy([Record(encode(task), 0)], AT)
    (taken,) = world.log.submissions
    assert (taken.schedule_id, taken.workflow_id) == (None, None)
