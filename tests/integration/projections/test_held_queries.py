"""What held work asks of the read models, each question on a real PostgreSQL."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain import decide, holds
from domain.decide import OwnerCommand
from domain.dependencies import Dependency
from domain.states import TaskStatus
from domain.task import TaskState, evolve
from projections.intake_model import IntakeTasks
from projections.projector import Projector
from schemas.codec import encode
from schemas.events import TaskEvent
from tests.support.logs import BEGIN, Log, polled, split, submission

pytestmark = pytest.mark.external_service

SOON = BEGIN + timedelta(minutes=1)
START = decide.Start(at=BEGIN, epoch=1, worker="w")
COMPLETE = decide.Complete(at=BEGIN, epoch=1, result='{"n":1}', duration_seconds=1)
FAIL = decide.Fail(at=BEGIN, epoch=1, code="broken", detail="no", retryable=False)


def lives(log: Log, task_id: str, *commands: OwnerCommand, on_topic: bool = True, **fields: object) -> TaskState:
    """A task and what its owner does with it; without topic it is only held."""
    submitted = submission(task_id, **fields)
    state = evolve(TaskState(task_id=task_id), submitted)
    if on_topic:
        log.append(submitted)
    for command in commands:
        facts: list[TaskEvent] = [*decide.decide(command, state)]
        for fact in facts:
            log.append(fact)
            state = evolve(state, fact)
    return state


def held(log: Log, task_id: str, reason: str, epoch: int = 0, **fields: object) -> TaskState:
    """A task that waits outside."""
    encoded = encode(submission(task_id, **fields))
    hold = decide.Hold(at=BEGIN, epoch=epoch, reason=reason, until=None, submission=encoded)
    return lives(log, task_id, hold, on_topic=bool(epoch), **fields)


@pytest.fixture
async def tasks(connection: psycopg.AsyncConnection, engine: AsyncEngine) -> IntakeTasks:
    """A log with everything that can wait, projected."""
    log = Log()
    lives(log, "a", START, COMPLETE)
    lives(log, "b", START, FAIL)
    held(log, "on-a", holds.DEPENDENCIES, depends_on=("a", "b"))
    held(log, "on-c", holds.DEPENDENCIES, depends_on=("c",), deadline_at=SOON)
    held(log, "p1", holds.paused("class", "cpu"), epoch=3, occurred_at=SOON)
    held(log, "p2", holds.paused("class", "cpu"), epoch=3)
    held(log, "m1", holds.model_offline("m"), epoch=3)
    step: dict[str, Any] = {"workflow_id": "w", "on_dependency_failure": "fail_fast"}
    lives(log, "w:1", START, FAIL, **step)
    lives(log, "w:2", START, **step)
    held(log, "w:3", holds.DEPENDENCIES, depends_on=("w:2",), **step)
    for minute in (31, 32):
        lives(log, f"s@2026-11-21T09:{minute}:00Z", schedule_id="s")
    released = held(log, "gone", holds.DEPENDENCIES, depends_on=("a",), payload='{"x":{"$from":"a"}}')
    assert released.submission is not None
    log.append(replace(released.submission, payload='{"x":{"n":1}}', sequence=1))
    projector = await Projector.open(connection)
    chance = random.Random(3)
    for batch in split(log.shuffled(chance), chance):
        await projector.apply(polled(batch))
    return IntakeTasks(engine)


async def test_what_waits_for_others_comes_page_by_page_and_by_what_it_waits_for(tasks: IntakeTasks) -> None:
    everything = await tasks.waiting("", 100)
    assert [task.task_id for task in everything] == ["on-a", "on-c", "w:3"], "what was released waits no more"
    assert everything[0].depends_on == ("a", "b")
    assert [task.task_id for task in await tasks.waiting("on-a", 1)] == ["on-c"]
    assert [task.task_id for task in await tasks.waiting_for(["b", "x"], 100)] == ["on-a"]


async def test_how_dependencies_are_and_their_results(tasks: IntakeTasks) -> None:
    found = await tasks.dependencies(["a", "b", "nobody"])
    assert found == {
        "a": Dependency("a", TaskStatus.COMPLETED),
        "b": Dependency("b", TaskStatus.FAILED, "broken", "no"),
    }
    assert await tasks.results(["a", "b"]) == {"a": '{"n":1}'}


async def test_steps_of_a_workflow_that_one_has_stopped(tasks: IntakeTasks) -> None:
    assert await tasks.unfinished_steps("", 10) == [("w:2", 1, "w")]
    assert await tasks.failed_steps(["w", "other"]) == {"w": Dependency("w:1", TaskStatus.FAILED, "broken", "no")}


async def test_holds_by_reason_with_all_that_their_owner_knew(tasks: IntakeTasks) -> None:
    paused = holds.paused("class", "cpu")
    assert await tasks.hold_reasons() == [holds.DEPENDENCIES, holds.model_offline("m"), paused]
    found = await tasks.held_for([paused], "cpu", 10)
    assert [(task.task_id, task.state.version, task.released) for task in found] == [
        ("p2", (1, 3, 1), False),
        ("p1", (1, 3, 1), False),
    ]
    assert await tasks.held_for([paused], "io", 10) == []
    assert await tasks.due("cpu", SOON + timedelta(days=9), 10) == [], "none of them waits for a time"


async def test_what_is_too_late_and_which_tick_was_the_last(tasks: IntakeTasks) -> None:
    assert [task.task_id for task in await tasks.expired(SOON, 10)] == ["on-c"]
    assert await tasks.expired(SOON - timedelta(seconds=1), 10) == []
    assert await tasks.last_ticks(["s", "t"]) == {"s": "s@2026-11-21T09:32:00Z"}


async def test_a_task_is_shown_with_what_was_put_into_its_payload(tasks: IntakeTasks, engine: AsyncEngine) -> None:
    (gone,) = await tasks.held(["gone"])
    assert (gone.released, gone.submitted.payload, gone.submitted.sequence) == (True, '{"x":{"n":1}}', 1)
