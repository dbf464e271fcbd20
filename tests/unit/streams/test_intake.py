"""Batches of intake, without a broker."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.events import TaskHeld, TaskRejected
from streams import intake, topics
from streams.admission import Admission
from streams.held_work import HeldWork
from streams.intake import Intake, IntakeConfig
from streams.intake_records import Reader
from streams.log import LogUnavailable
from tests.support.memory_world import CATALOGUE, CLASSES, MemoryWorld

AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
BOUND = 5


@dataclass
class Record:
    """What intake looks at in a record."""

    value: bytes | None
    offset: int
    topic: str = topics.INTAKE
    partition: int = 0
    key: bytes | None = b"key"
    headers: Iterable[tuple[str, bytes]] = field(default_factory=list)


@pytest.fixture
def world() -> MemoryWorld:
    """A world in which everything works."""
    return MemoryWorld()


@pytest.fixture
def door(world: MemoryWorld) -> Intake:
    """Intake with short queues."""
    return made(world)


def made(world: MemoryWorld) -> Intake:
    config = IntakeConfig(
        bootstrap_servers="", catalogue=CATALOGUE, tasks=world.read_model, classes=CLASSES, max_queue_size=BOUND
    )
    admission = Admission(BOUND)
    return Intake(config, world.log, admission, HeldWork(world.log, world.read_model, admission, CLASSES))


def echo(offset: int, **more: Any) -> Record:
    return Record(json.dumps({"type": "echo", "payload": {"text": "x"}} | more).encode(), offset)


def fetch(offset: int) -> Record:
    return Record(json.dumps({"type": "fetch", "payload": {"url": "x"}}).encode(), offset)


async def test_good_and_bad_records_part_ways(world: MemoryWorld, door: Intake) -> None:
    bad = Record(b"\x00", 1, headers=[("mine", b"1")])
    await door.copy([echo(0), bad, fetch(2)], AT)
    assert [task.type for task in world.log.submissions] == ["echo", "fetch"]
    (fact,) = world.log.records[topics.LIFECYCLE]
    assert isinstance(fact, TaskRejected)
    assert fact.origin == "tasks-intake/0/1"
    ((value, key, headers),) = world.log.records[topics.DEAD_LETTERS]
    assert (value, key, headers["mine"]) == (b"\x00", b"key", b"1")
    assert headers["penstock-reason"].decode() == fact.error_detail


async def test_the_trace_context_of_the_record_goes_along(world: MemoryWorld, door: Intake) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    record = echo(0)
    record.headers = [("traceparent", trace.encode())]
    await door.copy([record], AT)
    assert world.log.submissions[0].traceparent == trace


async def test_a_record_read_again_is_not_copied_again(world: MemoryWorld, door: Intake) -> None:
    records = [echo(0), echo(1, id="mine"), echo(2, id="mine")]
    await door.copy(records, AT)
    assert len(world.log.submissions) == 2
    await door.copy(records, AT)
    assert len(world.log.submissions) == 2
    # A new process knows what the read model knows.
    await made(world).copy(records, AT)
    assert len(world.log.submissions) == 2


async def test_repeats_of_an_unfinished_batch_have_the_same_event_ids(world: MemoryWorld) -> None:
    world.read_model.projecting = False
    for _ in range(2):
        await made(world).copy([echo(0), Record(b"", 1)], AT)
    assert len({task.event_id for task in world.log.submissions}) == 1
    assert len({fact.event_id for fact in world.log.records[topics.LIFECYCLE]}) == 1


async def test_work_for_later_is_held_with_all_it_is(world: MemoryWorld, door: Intake) -> None:
    later = AT + timedelta(hours=1)
    await door.copy([echo(0, run_at=later.isoformat(), id="mine", priority=3)], AT)
    (fact,) = world.log.records[topics.LIFECYCLE]
    assert isinstance(fact, TaskHeld)
    assert (fact.task_id, fact.reason, fact.until) == ("mine", "run_at", later)
    world.read_model.project()
    submission = world.read_model.states["mine"].submission
    assert submission is not None
    assert (submission.type, submission.priority, submission.run_at) == ("echo", 3, later)


async def test_a_full_class_stops_only_itself_and_loses_nothing(world: MemoryWorld, door: Intake) -> None:
    await door.copy([*(echo(number) for number in range(BOUND + 3)), fetch(100)], AT)
    assert [len(world.log.records[f"tasks-{name}-normal"]) for name in CLASSES] == [BOUND, 1]
    held = world.log.records[topics.LIFECYCLE]
    assert [(fact.reason, fact.until) for fact in held] == [("queue_full", AT)] * 3
    # Those that come later wait behind them, even if there was room for a moment.
    await door.copy([echo(200), fetch(201)], AT)
    assert [len(world.log.records[f"tasks-{name}-normal"]) for name in CLASSES] == [BOUND, 2]


@pytest.mark.parametrize("down", [True, False])
async def test_without_the_read_model_work_is_taken_all_the_same(
    world: MemoryWorld, door: Intake, down: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "RETRY_DELAY_SECONDS", 0.0)
    world.read_model.down = down
    await door.copy([echo(0)], AT)
    assert len(world.log.submissions) == 1
    assert world.read_model.calls["known"] == (intake.LOOK_UPS_MAX if down else 1)


async def test_an_outage_of_the_log_is_not_swallowed(world: MemoryWorld, door: Intake) -> None:
    world.log.down = True
    with pytest.raises(LogUnavailable):
        await door.copy([echo(0)], AT)
    world.log.down = False
    await door.copy([echo(0)], AT)
    assert len(world.log.submissions) == 1


async def test_a_record_with_a_header_name_that_cannot_be_read_is_rejected(world: MemoryWorld, door: Intake) -> None:
    odd = echo(1)
    odd.headers = [("\N{REPLACEMENT CHARACTER}", b"1")]
    await door.copy([echo(0), odd, echo(2)], AT)
    (fact,) = world.log.records[topics.LIFECYCLE]
    assert (fact.error_code, fact.origin) == ("undecodable_header", "tasks-intake/0/1")
    ((value, key, headers),) = world.log.records[topics.DEAD_LETTERS]
    assert (value, key, headers["penstock-origin-offset"]) == (odd.value, b"key", b"1")
    assert len(world.log.submissions) == 2


async def test_a_reader_that_breaks_rejects_the_record_and_goes_on(
    world: MemoryWorld, door: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Reader, "tasks", broken)
    await door.copy([echo(0)], AT)
    (fact,) = world.log.records[topics.LIFECYCLE]
    assert fact.error_code == "unreadable_record"
    assert len(world.log.records[topics.DEAD_LETTERS]) == 1
