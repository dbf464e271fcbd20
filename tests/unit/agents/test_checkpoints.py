"""Attempts that hand back their slot at a checkpoint, and tasks that go on from there."""

import json

import pytest

from agents.artifacts import ArtifactStore
from agents.checkpoints import CHECKPOINT_BYTES_MAX, bounded, loaded
from agents.engines import reporting
from agents.engines.yielding import KEEP_SECONDS, Checkpoints, Yielded
from domain.errors import TaskError
from domain.states import TaskStatus
from domain.strategies.choice import StrategyChoice
from domain.task import fold
from schemas import events
from tests.support.memory_worker import World, until, worker

ALL = {0, 1, 2, 3}


async def test_a_more_urgent_task_gets_the_slot_and_the_other_goes_on_where_it_was() -> None:
    world = World()
    async with worker(world, slots=1, strategy="preemptive") as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("long", type="count", priority=1, attempts_max=1)
        await until(lambda: world.script.counts.get("long", 0) > 3)
        await world.submit("urgent", priority=3)
        await until(lambda: "urgent" in world.script.started)
        await until(lambda: world.script.started == ["long", "urgent", "long"])
        world.script.let_go("long")
        await until(lambda: world.lag == 0)
    assert world.log.types("long") == ["started", "yielded", "started", "completed"]
    _, yielded, again, _ = [fact for fact in world.log.facts("long") if fact.TYPE != "task.queued"]
    assert isinstance(yielded, events.TaskYielded)
    assert world.script.resumed_at == [None, json.loads(yielded.checkpoint)]
    assert again.attempt == 2
    assert fold("long", world.log.facts("long")).attempts_returned == 1


async def test_an_attempt_that_cannot_yield_is_not_asked_to() -> None:
    world = World()
    async with worker(world, slots=1, strategy="preemptive") as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("long", "stay", type="count", priority=1)
        await until(lambda: world.script.counts.get("long", 0) > 3)
        await world.submit("urgent", priority=3)
        before = world.script.counts["long"]
        await until(lambda: world.script.counts["long"] > before + 50)
        world.script.let_go("long")
        await until(lambda: world.lag == 0)
    assert world.log.types("long") == ["started", "completed"]


async def test_turns_end_when_their_time_is_up_and_others_wait() -> None:
    world = World()
    turns = StrategyChoice("round_robin", {"time_slice_seconds": 0.01})
    async with worker(world, slots=1, strategy=turns) as w:
        await world.group.rebalance({w.stream: ALL})
        for name in ("a", "b", "c"):
            await world.submit(name, type="count")

        def three_turns_each() -> bool:
            w.dispatcher.wake()
            return all(world.script.started.count(name) >= 3 for name in ("a", "b", "c"))

        await until(three_turns_each)
        for name in ("a", "b", "c"):
            world.script.let_go(name)
        await until(lambda: world.lag == 0)
    assert world.script.started[:9] == ["a", "b", "c"] * 3
    for name in ("a", "b", "c"):
        state = fold(name, world.log.facts(name))
        assert (state.status, json.loads(state.result or "")["number"]) == (
            TaskStatus.COMPLETED,
            world.script.counts[name],
        )


async def test_a_shutdown_keeps_what_was_done_and_another_worker_goes_on_from_it() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("long", type="count", attempts_max=1)
        await until(lambda: world.script.counts.get("long", 0) > 3)
        await w.dispatcher.drain(5.0)
        await w.outbox.drained()
    reached = world.script.counts["long"]
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await until(lambda: len(world.script.resumed_at) == 2)
        world.script.let_go("long")
        await until(lambda: world.lag == 0)
    assert world.log.types("long") == ["started", "yielded", "started", "completed"]
    assert world.script.resumed_at[1] == {"number": reached, "padding": ""}


async def test_an_attempt_that_comes_by_no_checkpoint_in_time_goes_on_from_its_last_one() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("long", "stay", type="count")
        await until(lambda: world.script.counts.get("long", 0) > 3)
        await w.dispatcher.drain(0.0)
        await w.outbox.drained()
    assert world.log.types("long") == ["started", "yielded"]
    assert json.loads(fold("long", world.log.facts("long")).checkpoint or "")["number"] == 1


async def test_a_large_checkpoint_is_stored_and_found_again() -> None:
    world = World()
    async with worker(world, slots=1, strategy="preemptive") as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("long", "large", type="count", priority=1)
        await until(lambda: world.script.counts.get("long", 0) > 3)
        await world.submit("urgent", priority=3)
        await until(lambda: len(world.script.resumed_at) == 2)
        world.script.let_go("long")
        await until(lambda: world.lag == 0)
    state = fold("long", world.log.facts("long"))
    assert len(state.checkpoint or "") < 1000
    resumed = world.script.resumed_at[1]
    assert isinstance(resumed, dict)
    assert len(resumed["padding"]) == 100_000


async def test_small_checkpoints_stay_in_the_log() -> None:
    store = ArtifactStore("memory://checkpoints")
    assert await bounded('{"a":1}', store) == '{"a":1}'
    text = json.dumps("x" * CHECKPOINT_BYTES_MAX)
    assert await loaded(await bounded(text, store), store) == "x" * CHECKPOINT_BYTES_MAX
    assert await loaded(None, store) is None


def test_a_state_is_kept_at_first_and_then_now_and_again() -> None:
    kept: list[str] = []
    now = 100.0
    checkpoints = Checkpoints(kept.append, lambda: now)
    for seconds in (0.0, KEEP_SECONDS / 2, KEEP_SECONDS, KEEP_SECONDS * 1.5):
        now = 100.0 + seconds
        checkpoints.reached(seconds, asked=False)
    assert kept == ["0.0", str(KEEP_SECONDS)]
    with pytest.raises(Yielded) as yielded:
        checkpoints.reached({"a": None}, asked=True)
    assert yielded.value.checkpoint == '{"a":null}'


def test_a_checkpoint_must_be_json() -> None:
    with pytest.raises(TaskError, match="invalid_checkpoint"):
        Checkpoints(lambda text: None, lambda: 0.0).reached(object(), asked=False)


def test_a_wish_for_a_call_that_is_over_does_not_hit_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, object]] = []
    monkeypatch.setattr(reporting, "_reporter", told.append)
    for name in ("_call", "_asked_call"):
        monkeypatch.setattr(reporting, name, 0)
    monkeypatch.setattr(reporting, "_checkpoints", None)
    reporting.begin_call(1)
    reporting.begin_call(2)
    reporting.ask_to_yield(1)
    reporting.checkpoint({"number": 1})
    assert told == [{"checkpoint": '{"number":1}'}]
    reporting.ask_to_yield(2)
    with pytest.raises(Yielded):
        reporting.checkpoint({"number": 2})
