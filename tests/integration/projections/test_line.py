"""Places in line and selections of tasks, counted on real read models; places agree with the strategies themselves."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.types.json import Jsonb
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.dispatch_status import Closure
from domain.line import Line, Within
from domain.states import TaskStatus
from domain.strategies.choice import StrategyChoice
from domain.strategies.estimates import Estimates, Kind
from domain.strategies.make import make_strategy
from domain.strategies.strategy import Lane, Waiting
from projections import dispatchers, line, selection
from projections.database import reading
from projections.projector import Projector
from projections.selection import Selection
from schemas.events import TaskPriorityChanged, TaskQueued, TaskStarted, TaskSubmitted, TaskYielded
from tests.support.logs import BEGIN, Log, polled, submission

pytestmark = pytest.mark.external_service

TENANTS = ("a", "b", "c")
WEIGHTS = {"a": 2.0}
#: How long tasks take without an estimate of their own; of a third model, nothing is known.
LEARNED: dict[Kind, float] = {("convert", None): 20.0, ("convert", "m"): 5.0}


def crowd(count: int, seed: int) -> list[TaskSubmitted]:
    """Tasks of one class that differ in all that strategies look at."""
    chance = random.Random(seed)
    return [
        submission(
            f"task-{number}",
            tenant=chance.choice(TENANTS),
            priority=chance.choice((1, 2, 3)),
            model=chance.choice((None, "m", "n")),
            deadline_at=chance.choice((None, BEGIN + timedelta(hours=chance.randint(1, 50)))),
            estimated_seconds=chance.choice((None, None, float(chance.randint(1, 40)))),
        )
        for number in range(count)
    ]


async def projected(connection: psycopg.AsyncConnection, log: Log) -> None:
    await (await Projector.open(connection)).apply(polled(log.in_order()))


async def lines_of(engine: AsyncEngine, tasks: list[TaskSubmitted], strategy: str) -> dict[str, Line]:
    async with reading(engine) as connection:
        found = {task.task_id: await line.line(connection, task.task_id, strategy, LEARNED) for task in tasks}
    return {task_id: place for task_id, place in found.items() if place is not None}


def order_of(strategy: str, tasks: list[TaskSubmitted], accepted_ms: dict[str, int]) -> Iterator[str]:
    """The order in which the strategy itself starts them, one after another, before any has aged."""
    learned = Estimates()
    for (task_type, model), seconds in LEARNED.items():
        learned.learn(task_type, model, seconds)
    chosen = make_strategy(StrategyChoice(strategy), learned, lambda tenant: WEIGHTS.get(tenant, 1.0))
    now = max(accepted_ms.values())
    for task in tasks:
        deadline = None if task.deadline_at is None else int(task.deadline_at.timestamp() * 1000)
        lane = Lane(task.model, None, task.type, task.tenant)
        waiting = Waiting(
            task.task_id,
            lane,
            task.priority,
            accepted_ms[task.task_id],
            estimate_seconds=task.estimated_seconds,
            deadline_ms=deadline,
            cost=1000.0,
        )
        chosen.push(waiting, now)
    while (first := chosen.pop(now, lambda _: None)) is not None:
        yield first.task_id


@pytest.mark.parametrize(
    "strategy", ["fifo", "priority", "preemptive", "round_robin", "deadline", "shortest_job_first"]
)
async def test_a_place_is_the_one_that_the_strategy_gives(
    connection: psycopg.AsyncConnection, engine: AsyncEngine, strategy: str
) -> None:
    tasks, log = crowd(40, seed=1), Log()
    accepted = {task.task_id: log.append(task).position[0] for task in tasks}
    # Owners note which tasks wait in any order, some of them late and some never.
    for number, task in enumerate(random.Random(2).sample(tasks, 30)):
        log.append(TaskQueued(task_id=task.task_id, occurred_at=BEGIN + timedelta(hours=number), epoch=1, sequence=1))
    await projected(connection, log)
    places = await lines_of(engine, tasks, strategy)
    for position, task_id in enumerate(order_of(strategy, tasks, accepted)):
        assert places[task_id].ahead(strategy, lambda _: 1.0) == position, task_id


async def test_who_has_had_a_turn_stands_behind_those_who_have_not(
    connection: psycopg.AsyncConnection, engine: AsyncEngine
) -> None:
    tasks, log = [submission(f"task-{number}") for number in range(3)], Log()
    for task in tasks:
        log.append(task)
    later = BEGIN + timedelta(hours=1)
    log.append(TaskStarted(task_id="task-0", occurred_at=later, epoch=1, sequence=1, attempt=1, worker="w"))
    log.append(TaskYielded(task_id="task-0", occurred_at=later, epoch=1, sequence=2, attempt=1, checkpoint="1"))
    await projected(connection, log)
    places = await lines_of(engine, tasks, "round_robin")
    assert [places[task.task_id].ahead("round_robin", lambda _: 1.0) for task in tasks] == [2, 0, 1]


async def test_under_fair_shares_a_place_is_right_to_within_a_round(
    connection: psycopg.AsyncConnection, engine: AsyncEngine
) -> None:
    tasks, log = crowd(60, seed=2), Log()
    accepted = {task.task_id: log.append(task).position[0] for task in tasks}
    await projected(connection, log)
    places = await lines_of(engine, tasks, "fair")
    a_round = sum(WEIGHTS.get(tenant, 1.0) for tenant in TENANTS)
    for position, task_id in enumerate(order_of("fair", tasks, accepted)):
        guess = places[task_id].ahead("fair", lambda tenant: WEIGHTS.get(tenant, 1.0))
        assert abs(guess - position) <= a_round, (task_id, guess, position)


async def test_a_line_is_of_those_who_wait_for_the_same(
    connection: psycopg.AsyncConnection, engine: AsyncEngine
) -> None:
    log = Log()
    tasks = [
        submission("other-class", resource_class="io", model="m"),
        submission("other-model", model="n"),
        submission("same-model", model="m", tenant="sports"),
        submission("running", model="m"),
        submission("mine", model="m"),
        submission("later", model="m"),
    ]
    for task in tasks:
        log.append(task)
    log.append(TaskStarted(task_id="running", occurred_at=BEGIN, epoch=1, sequence=1, attempt=1, worker="w"))
    await projected(connection, log)
    async with reading(engine) as reader:
        for within, ahead in [
            (Within(), 2),
            (Within(models=["m"]), 1),
            (Within(models=["m", "n"]), 2),
            (Within(models=[]), 0),
            (Within(tenant="default"), 1),
            (Within(type="convert"), 2),
            (Within(type="echo"), 0),
            (Within(without={("convert", "sports", "m"), ("convert", "default", None)}), 1),
            (Within(without={("convert", "sports", "m"), ("convert", "default", "n")}), 0),
        ]:
            mine = await line.line(reader, "mine", "fifo", {}, within)
            assert mine is not None
            assert (mine.ahead("fifo", lambda _: 1.0), mine.older) == (ahead, ahead), within
        assert await line.line(reader, "nobody", "fifo", {}) is None


async def test_a_changed_priority_moves_a_task_in_its_line(
    connection: psycopg.AsyncConnection, engine: AsyncEngine
) -> None:
    log = Log()
    tasks = [submission(f"task-{number}") for number in range(3)]
    for task in tasks:
        log.append(task)
        log.append(TaskQueued(task_id=task.task_id, occurred_at=BEGIN, epoch=1, sequence=1))
    log.append(
        TaskPriorityChanged(task_id="task-2", occurred_at=BEGIN, epoch=1, sequence=2, priority=3, reason="requested")
    )
    await projected(connection, log)
    places = await lines_of(engine, tasks, "priority")
    assert [places[task.task_id].ahead("priority", lambda _: 1.0) for task in tasks] == [1, 2, 0]


async def test_unfinished_tasks_are_selected_page_by_page(
    connection: psycopg.AsyncConnection, engine: AsyncEngine
) -> None:
    tasks, log = crowd(50, seed=3), Log()
    for number, task in enumerate(tasks):
        log.append(submission(task_id=task.task_id, tenant=task.tenant, priority=task.priority, model=task.model))
        if number % 5 == 0:
            log.append(TaskQueued(task_id=task.task_id, occurred_at=BEGIN, epoch=1, sequence=1))
    await projected(connection, log)
    wanted = Selection(tenant="a", priority=2)
    expected = sorted(task.task_id for task in tasks if (task.tenant, task.priority) == ("a", 2))
    assert len(expected) > 3
    found: list[str] = []
    async with reading(engine) as reader:
        assert await selection.count(reader, wanted) == len(expected)
        while page := await selection.page(reader, wanted, after=found[-1] if found else "", limit=2):
            found += [each.task_id for each in page]
        assert found == expected
        assert await selection.count(reader, Selection(statuses={TaskStatus.QUEUED, TaskStatus.COMPLETED})) == 10
        assert await selection.count(reader, Selection(model="m")) == sum(task.model == "m" for task in tasks)
        assert await selection.count(reader, Selection(type="nothing")) == 0
        assert await selection.count(reader, Selection(created_before=BEGIN)) == 0
        assert await selection.count(reader, Selection(created_before=BEGIN + timedelta(seconds=1))) == 50


async def test_workers_that_fell_silent_are_not_heard_of(
    connection: psycopg.AsyncConnection, engine: AsyncEngine
) -> None:
    status = {
        "slots": 2,
        "running": 1,
        "strategy": "fair",
        "lanes": [{"task_type": "echo", "tenant": "a", "waiting": 3, "closed_by": {"cause": "memory", "until": None}}],
    }
    say = "INSERT INTO coordination.dispatch_status VALUES (%s, %s, %s, %s)"
    now = datetime.now(UTC)
    for worker, resource_class, at in [
        ("here", "cpu", now),
        ("gone", "cpu", now - timedelta(minutes=1)),
        ("elsewhere", "io", now),
    ]:
        await connection.execute(say, (worker, resource_class, at, Jsonb(status)))
    async with reading(engine) as reader:
        (found,) = await dispatchers.dispatchers(reader, ["cpu"])
    assert (found.worker, found.slots, found.lanes[0].waiting) == ("here", 2, 3)
    assert found.lanes[0].closed_by == Closure("memory", "", "")
