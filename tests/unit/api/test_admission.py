"""The bound on a class's queue, as callers meet it."""

import asyncio
from datetime import UTC, datetime

import httpx
import pytest

from api import queues
from schemas.events import TaskStarted
from streams import topics
from tests.support.callers import problem
from tests.support.memory_world import MemoryWorld

PATH = "/api/v1/tasks"
WORKFLOWS = "/api/v1/workflows"
ECHO = {"type": "echo", "payload": {"text": "hello"}}
BOUND = 5


@pytest.fixture
def world() -> MemoryWorld:
    """A world with short queues."""
    return MemoryWorld(max_queue_size=BOUND)


def start(task_id: str) -> TaskStarted:
    return TaskStarted(task_id=task_id, occurred_at=datetime.now(UTC), epoch=1, sequence=1, attempt=1, worker="w")


async def fill(client: httpx.AsyncClient) -> list[str]:
    return [(await client.post(PATH, json=ECHO)).json()["task_id"] for _ in range(BOUND)]


async def test_a_full_queue_says_so_and_when_to_come_back(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    await fill(client)
    answer = await client.post(PATH, json=ECHO)
    body = problem(answer, 429, "queue-full")
    assert (body["resource_class"], body["depth"], body["depth_max"]) == ("cpu", BOUND, BOUND)
    assert int(answer.headers["retry-after"]) > 0
    assert len(world.log.submissions) == BOUND


async def test_another_class_has_a_queue_of_its_own(client: httpx.AsyncClient) -> None:
    await fill(client)
    assert (await client.post(PATH, json={"type": "fetch", "payload": {"url": "x"}})).status_code == 202


async def test_a_start_makes_room_at_once(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    first, *_ = await fill(client)
    problem(await client.post(PATH, json=ECHO), 429, "queue-full")
    world.happens(start(first))
    assert (await client.post(PATH, json=ECHO)).status_code == 202
    problem(await client.post(PATH, json=ECHO), 429, "queue-full")


async def test_the_bound_holds_for_callers_that_come_together(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    answers = await asyncio.gather(*(client.post(PATH, json=ECHO) for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [202] * BOUND + [429] * (50 - BOUND)
    assert len(world.log.submissions) == BOUND


async def test_a_failed_append_gives_its_place_back(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    world.log.down = True
    for _ in range(BOUND + 1):
        problem(await client.post(PATH, json=ECHO), 503, "log-unavailable")
    world.log.down = False
    assert len(await fill(client)) == BOUND


async def test_what_the_projector_has_not_seen_counts(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    world.read_model.projecting = False
    world.broker.lags["agents-cpu"] = BOUND
    await fill(client)
    problem(await client.post(PATH, json=ECHO), 429, "queue-full")


@pytest.mark.parametrize("how", ["projector", "database"])
async def test_without_a_view_the_unacknowledged_records_are_the_bound(
    client: httpx.AsyncClient, world: MemoryWorld, how: str
) -> None:
    """The log still takes work that agents work off, though nobody projects it."""
    world.read_model.projecting = how != "projector"
    world.read_model.down = how == "database"
    world.broker.lags["agents-cpu"] = 0
    for _ in range(3 * BOUND):
        assert (await client.post(PATH, json=ECHO)).status_code == 202
    world.broker.lags["agents-cpu"] = BOUND
    problem(await client.post(PATH, json=ECHO), 429, "queue-full")


async def test_repeats_need_no_place(client: httpx.AsyncClient) -> None:
    for number in range(BOUND):
        assert (await client.post(PATH, json=ECHO | {"id": f"mine-{number}"})).status_code == 202
    problem(await client.post(PATH, json=ECHO | {"id": "new"}), 429, "queue-full")
    assert (await client.post(PATH, json=ECHO | {"id": "mine-0"})).status_code == 202


def fan(steps: int, kind: object = ECHO) -> dict[str, object]:
    """A workflow with so many steps that wait for nothing, and one that waits for the first."""
    return {"steps": {f"s{number}": kind for number in range(steps)} | {"after": ECHO | {"depends_on": ["s0"]}}}


async def test_a_workflow_whose_steps_do_not_fit_is_refused_as_a_whole(
    client: httpx.AsyncClient, world: MemoryWorld
) -> None:
    for _ in range(BOUND - 2):
        assert (await client.post(PATH, json=ECHO)).status_code == 202
    answer = await client.post(WORKFLOWS, json=fan(3))
    body = problem(answer, 429, "queue-full")
    assert (body["resource_class"], body["depth"], body["depth_max"]) == ("cpu", BOUND - 2, BOUND)
    assert int(answer.headers["retry-after"]) > 0
    assert not world.log.records[topics.INTAKE]
    assert (await client.post(WORKFLOWS, json=fan(2))).status_code == 202


async def test_a_workflow_that_is_refused_for_one_class_takes_no_place_in_another(client: httpx.AsyncClient) -> None:
    await fill(client)
    steps = {"fetch": {"type": "fetch", "payload": {"url": "x"}}, "echo": ECHO}
    problem(await client.post(WORKFLOWS, json={"steps": steps}), 429, "queue-full")
    answers = [await client.post(PATH, json={"type": "fetch", "payload": {"url": "x"}}) for _ in range(BOUND)]
    assert {answer.status_code for answer in answers} == {202}


async def test_the_bound_holds_for_workflows_that_come_together(client: httpx.AsyncClient, world: MemoryWorld) -> None:
    answers = await asyncio.gather(*(client.post(WORKFLOWS, json=fan(2)) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [202] * (BOUND // 2) + [429] * (10 - BOUND // 2)
    assert len(world.log.records[topics.INTAKE]) == BOUND // 2


async def test_a_workflow_larger_than_a_queue_comes_in_while_nothing_waits(client: httpx.AsyncClient) -> None:
    assert (await client.post(WORKFLOWS, json=fan(3 * BOUND))).status_code == 202
    problem(await client.post(PATH, json=ECHO), 429, "queue-full")


async def test_a_failed_append_of_a_workflow_gives_its_places_back(
    client: httpx.AsyncClient, world: MemoryWorld
) -> None:
    world.log.down = True
    for _ in range(2):
        problem(await client.post(WORKFLOWS, json=fan(BOUND)), 503, "log-unavailable")
    world.log.down = False
    assert (await client.post(WORKFLOWS, json=fan(BOUND))).status_code == 202


async def test_a_workflow_is_counted_until_intake_has_had_time_to_make_its_tasks(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "ON_THE_WAY_SECONDS", 0.0)
    assert (await client.post(WORKFLOWS, json=fan(BOUND))).status_code == 202
    await asyncio.sleep(0)
    assert (await client.post(PATH, json=ECHO)).status_code == 202


async def test_steps_that_wait_need_no_room(client: httpx.AsyncClient) -> None:
    await fill(client)
    assert (await client.post(WORKFLOWS, json={"steps": {"later": ECHO | {"delay": "1h"}}})).status_code == 202
