"""Pauses and offline models: nothing of them starts, and what waits leaves the window."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.configuration import Configuration, Pause
from domain.retry import RetryPolicy
from domain.states import TaskStatus
from domain.task import TaskState, fold
from domain.waits import PAUSED
from schemas import events
from schemas.codec import decode
from schemas.events import TaskSubmitted
from schemas.models import ModelDefinition
from streams.state_header import STATE_HEADER, state_header
from tests.support.memory_worker import CLASS, World, submission_of, until, worker

ALL = {0, 1, 2, 3}


def pause(scope: str, name: str) -> dict[str, Any]:
    """A configuration in which this is paused."""
    return {"pauses": {(scope, name): Pause(scope, name, False, "requested", datetime.now(UTC))}}


def offline(name: str) -> dict[str, Any]:
    return {"models": {name: ModelDefinition(name=name, path="demo", status="offline")}}


async def release(world: World, task_id: str) -> TaskState:
    """What the held-work service does once the configuration says so."""
    state = fold(task_id, world.log.facts(task_id))
    held = [fact for fact in world.log.facts(task_id) if isinstance(fact, events.TaskHeld)][-1]
    submission = decode(held.submission)
    assert isinstance(submission, TaskSubmitted)
    headers = [(STATE_HEADER, state_header(state))]
    await world.log.append(f"tasks-{CLASS}-normal", held.submission, submission.routing_key.encode(), headers)
    world.group.deliver()
    return state


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (pause("class", CLASS), f"paused: class {CLASS}"),
        (pause("tenant", "acme"), "paused: tenant acme"),
        (pause("model", "m"), "paused: model m"),
        (offline("m"), "model_offline: m"),
    ],
)
async def test_what_is_paused_is_held_and_its_records_are_let_go(changes: dict[str, Any], reason: str) -> None:
    world = World()
    async with worker(world, slots=1) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("runs", "wait", tenant="acme", model="m")
        await until(lambda: world.script.running)
        await world.submit("waits", tenant="acme", model="m")
        w.configure(**changes)
        await world.submit("comes-later", tenant="acme", model="m")
        await until(lambda: set(w.owner.entries) == {"runs"})
        for name in ("waits", "comes-later"):
            (held,) = [fact for fact in world.log.facts(name) if fact.TYPE != "task.queued"]
            assert isinstance(held, events.TaskHeld)
            assert held.reason == reason
        world.script.let_go("runs")
        await until(lambda: world.lag == 0)
    assert world.log.types("runs") == ["started", "completed"]


async def test_others_go_on_while_a_tenant_is_paused() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        w.configure(**pause("tenant", "acme"))
        await world.submit("acme", tenant="acme")
        await world.submit("other", tenant="other")
        await until(lambda: world.lag == 0)
    assert world.script.started == ["other"]


async def test_a_released_task_goes_on_where_it_was() -> None:
    world = World()
    retry = RetryPolicy(delay_seconds=3600)
    async with worker(world, retry=retry) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "fail", attempts_max=2)
        await until(lambda: w.window.next_at())
        w.configure(**pause("class", CLASS))
        await until(lambda: world.lag == 0)
        w.configure()
        state = await release(world, "t")
        assert (state.status, state.attempt) == (TaskStatus.HELD, 1)
        # A pause makes no retry come sooner.
        assert w.window.next_at() == state.due_at
        assert w.owner.entries["t"].state.version == state.version
    assert world.log.types("t") == ["started", "retry_scheduled", "held"]


async def test_a_task_is_held_again_and_again_and_runs_once() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        w.configure(**pause("class", CLASS))
        await world.submit("t", occurred_at=datetime.now(UTC))
        await until(lambda: world.lag == 0)
        await release(world, "t")
        await until(lambda: world.lag == 0)
        w.configure()
        await asyncio.sleep(0.05)
        await release(world, "t")
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["held", "held", "started", "completed"]
    (start,) = [fact for fact in world.log.facts("t") if isinstance(fact, events.TaskStarted)]
    assert start.waited_ms[PAUSED] >= 40


@pytest.mark.parametrize("same_worker", [True, False])
async def test_a_repeat_of_the_submission_does_not_wake_a_held_task(same_worker: bool) -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        w.configure(**pause("class", CLASS))
        await world.submit("t")
        await until(lambda: world.lag == 0)
        if same_worker:
            w.configure()
            await world.submit("t")
            await until(lambda: world.lag == 0)
    if not same_worker:
        async with worker(world) as w:
            await world.submit("t")
            await world.group.rebalance({w.stream: ALL})
            await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["held"]


async def test_a_hold_that_was_written_just_before_a_crash_lets_its_record_go() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        w.configure(**pause("class", CLASS))
        await world.submit("t")
        await until(lambda: world.lag == 0)
    world.group.committed.clear()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await until(lambda: world.lag == 0)
        assert world.log.types("t") == ["held"]
        await release(world, "t")
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["held", "started", "completed"]


async def test_a_large_backlog_is_held_in_steps_and_nothing_of_it_starts() -> None:
    world = World()
    async with worker(world, slots=1, window_size=100) as w:
        await world.submit("runs", "wait")
        for number in range(1500):
            await world.log.submit(submission_of(f"t-{number}"))
        await world.group.rebalance({w.stream: ALL})
        await until(lambda: world.script.running)
        w.configure(**pause("class", CLASS))
        await until(lambda: set(w.owner.entries) == {"runs"}, seconds=30)
        assert world.script.started == ["runs"]
        assert len(w.window) == 0


async def test_a_cancel_of_a_task_that_leaves_is_kept_for_its_return() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        w.configure(**pause("class", CLASS))
        await world.log.submit(submission_of("t"))
        world.log.withhold()
        world.group.deliver()
        await until(lambda: len(w.outbox) == 1)
        w.owner.wishes.cancel("t", 1, "requested")
        world.log.release()
        await until(lambda: world.lag == 0)
        assert world.log.types("t") == ["held"]
        await release(world, "t")
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["held", "cancelled"]


def test_a_pause_names_what_it_is_of() -> None:
    configuration = Configuration(**pause("tenant", "acme"))
    assert configuration.pause_of(CLASS, None, "acme")
    assert not configuration.pause_of(CLASS, None, "other")
