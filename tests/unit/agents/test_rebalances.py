"""Shards that come and go, workers that die, and owners that do not know that they were replaced."""

import asyncio
import itertools

import pytest

from agents import gatekeeper
from agents import outbox as module_of_outbox
from domain.states import TaskStatus
from domain.task import fold
from schemas import events
from tests.support.memory_worker import World, submission_of, until, worker

ALL = {0, 1, 2, 3}


async def test_a_running_task_of_a_kept_shard_goes_on_and_its_record_is_adopted() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "wait")
        await until(lambda: world.script.running)
        await world.group.rebalance({w.stream: ALL})
        assert w.owner.entries["t"].record.generation == 2
        world.script.let_go("t")
        await until(lambda: world.lag == 0)
    assert world.script.started == ["t"]
    assert world.log.types("t") == ["started", "completed"]


async def test_the_result_of_a_lost_shard_is_never_written() -> None:
    world = World()
    async with worker(world) as old, worker(world) as new:
        await world.group.rebalance({old.stream: ALL})
        await world.submit("t", "wait")
        await until(lambda: world.script.running)
        await world.group.rebalance({old.stream: set(), new.stream: ALL})
        await until(lambda: world.script.started == ["t", "t"])
        assert world.script.cancelled == ["t"]
        world.script.let_go("t")
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["started", "released", "started", "completed"]
    assert not old.owner.entries


async def test_an_end_decided_between_barrier_and_loss_is_dropped() -> None:
    world = World()
    async with worker(world) as old, worker(world) as new:
        await world.group.rebalance({old.stream: ALL})
        await world.submit("t", "wait")
        await until(lambda: world.script.running)
        await old.owner.revoked()
        world.script.let_go("t")
        await until(lambda: len(old.outbox) == 1)
        await world.group.rebalance({old.stream: set(), new.stream: ALL})
        await until(lambda: world.lag == 0)
    epochs = [fact.epoch for fact in world.log.facts("t")]
    assert epochs == sorted(epochs)
    assert world.log.types("t") == ["started", "attempt_lost", "started", "completed"]


async def test_a_recovery_that_ends_behind_the_next_barrier_thaws_nothing() -> None:
    """The stream calls its generation current until it has the next one; a successor may exist by then."""
    world = World()
    async with worker(world) as w:
        recovered = asyncio.Event()
        recover = world.group.recover

        async def slow(*arguments: object) -> object:
            await recovered.wait()
            return await recover(*arguments)  # type: ignore[arg-type]  # handed through

        w.owner._recover = slow  # type: ignore[assignment]  # as above
        rebalancing = asyncio.create_task(world.group.rebalance({w.stream: ALL}))
        await asyncio.sleep(0)
        await w.owner.revoked()
        recovered.set()
        await rebalancing
        assert not w.owner.settled
        await world.submit("t")
        for _ in range(20):
            await asyncio.sleep(0)
        assert not world.log.facts()


async def test_a_worker_that_stood_still_starts_nothing_until_it_is_certain_that_its_shards_are_its_own() -> None:
    world = World()
    async with worker(world, slots=1) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("running", "wait")
        await world.submit("next")
        await until(lambda: world.script.running)
        w.stream.awake = False
        world.script.let_go("running")
        await asyncio.sleep(3 * module_of_outbox.DOUBT_SECONDS)
        assert world.script.started == ["running"]
        assert world.log.types("running") == ["started"]
        w.stream.awake = True
        await until(lambda: world.lag == 0)
    assert world.log.types("next") == ["started", "completed"]


async def test_a_shard_that_moves_costs_its_tasks_no_attempt_and_makes_none_of_them_suspect() -> None:
    """Tasks with one attempt each go on, and all of them at a time."""
    world = World()
    names = ["a", "b", "c"]
    async with worker(world, slots=3) as old, worker(world, slots=3) as new:
        await world.group.rebalance({old.stream: ALL})
        for name in names:
            await world.submit(name, "wait", attempts_max=1)
        await until(lambda: len(world.script.running) == 3)
        await world.group.rebalance({old.stream: set(), new.stream: ALL})
        await until(lambda: len(world.script.started) == 6 and len(world.script.running) == 3)
        for name in names:
            world.script.let_go(name)
        await until(lambda: world.lag == 0)
    assert {tuple(world.log.types(name)) for name in names} == {("started", "released", "started", "completed")}


async def test_what_a_moved_shard_hands_back_too_late_changes_nothing() -> None:
    """Its successor has folded before: to it the attempt was lost, and it says so under the higher epoch."""
    world = World()
    async with worker(world) as old, worker(world) as new:
        await world.group.rebalance({old.stream: ALL})
        await world.submit("t", "wait", attempts_max=3)
        await until(lambda: world.script.running)
        await world.group.rebalance({new.stream: ALL, old.stream: set()})
        await until(lambda: len(world.script.started) == 2)
        world.script.let_go("t")
        await until(lambda: world.lag == 0)
    facts = [submission_of("t", "wait", attempts_max=3), *world.log.facts("t")]
    assert world.log.types("t")[-1] == "completed"
    assert fold("t", facts).status is TaskStatus.COMPLETED


async def test_a_zombie_never_changes_what_its_successor_wrote() -> None:
    world = World()
    async with worker(world) as zombie, worker(world) as new:
        await world.group.rebalance({zombie.stream: ALL})
        await world.submit("t", "wait")
        await until(lambda: world.script.running)
        await world.group.rebalance({new.stream: ALL})
        await until(lambda: len(world.script.started) == 2)
        world.script.let_go("t")
        await until(lambda: world.log.types("t").count("completed") == 2)
        await until(lambda: world.lag == 0)
    facts = world.log.facts("t")
    completed = [fact for fact in facts if isinstance(fact, events.TaskCompleted)]
    assert {fact.epoch for fact in completed} == {zombie.owner.epoch, new.owner.epoch}
    assert fold("t", facts).result == next(fact.result for fact in completed if fact.epoch == new.owner.epoch)


async def test_a_zombie_that_gets_its_shard_back_runs_again_what_it_finished_in_vain() -> None:
    world = World()
    async with worker(world) as zombie, worker(world) as between:
        await world.group.rebalance({zombie.stream: ALL})
        await world.submit("t", "wait", attempts_max=3)
        await until(lambda: world.script.running)
        await world.group.rebalance({between.stream: ALL})
        await until(lambda: world.script.started == ["t", "t"])
        await between.kill()
        world.script.let_go("t")
        await until(lambda: not zombie.owner.entries)
        await world.group.rebalance({zombie.stream: ALL})
        await until(lambda: world.lag == 0)
    state = fold("t", world.log.facts("t"))
    assert (state.status, state.epoch) == (TaskStatus.COMPLETED, zombie.owner.epoch)


async def test_a_successor_outranks_an_owner_that_has_written_nothing() -> None:
    """Else the late start of a frozen owner would make the successor's end count for nothing."""
    world = World()
    async with worker(world) as zombie, worker(world) as new:
        await world.group.rebalance({zombie.stream: ALL})
        await world.group.rebalance({new.stream: ALL})
        assert new.owner.epoch > zombie.owner.epoch


async def test_a_task_whose_worker_died_loses_an_attempt_and_runs_again() -> None:
    world = World()
    async with worker(world) as dead:
        await world.group.rebalance({dead.stream: ALL})
        await world.submit("t", "wait")
        await until(lambda: world.script.running)
    world.script.let_go("t")
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["started", "attempt_lost", "started", "completed"]
    assert [fact.attempt for fact in world.log.facts("t")] == [1, 1, 2, 2]


async def test_a_task_that_kills_its_worker_each_time_ends_failed_and_its_neighbours_complete() -> None:
    world = World()
    for name in ("n-1", "killer", "n-2"):
        await world.submit(name, "wait", attempts_max=2)
    for _ in range(2):
        async with worker(world, slots=3) as w:
            await world.group.rebalance({w.stream: ALL})
            await until(lambda: "killer" in world.script.running)
        world.script.let_go("n-1")
        world.script.let_go("n-2")
    async with worker(world, slots=3) as w:
        await world.group.rebalance({w.stream: ALL})
        await until(lambda: world.lag == 0)
    assert world.log.types("killer") == ["started", "attempt_lost", "started", "attempt_lost", "failed"]
    assert {fold(name, world.log.facts(name)).status for name in ("n-1", "n-2")} == {TaskStatus.COMPLETED}


async def suspects(world: World, count: int) -> list[str]:
    """So many tasks ran when their worker died."""
    names = [f"t-{number}" for number in range(count)]
    for name in names:
        await world.submit(name, "wait")
    async with worker(world, slots=count) as dead:
        await world.group.rebalance({dead.stream: ALL})
        await until(lambda: len(world.script.running) == count)
    return names


async def test_suspects_run_one_at_a_time() -> None:
    world = World()
    names = await suspects(world, 4)
    for name in names:
        world.script.let_go(name)
    world.script.running_max = 0
    async with worker(world, slots=4) as w:
        await world.group.rebalance({w.stream: ALL})
        await until(lambda: world.lag == 0)
    assert world.script.running_max == 1


async def test_a_suspect_that_runs_on_is_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a crash the work of hours does not go on one task at a time."""
    monkeypatch.setattr(gatekeeper, "SUSPICION_SECONDS", 0.2)
    world = World()
    names = await suspects(world, 3)
    async with worker(world, slots=3) as w:
        await world.group.rebalance({w.stream: ALL})
        await until(lambda: len(world.script.running) == 3)
        for name in names:
            world.script.let_go(name)
        await until(lambda: world.lag == 0)
    starts = [world.log.facts(name)[2].occurred_at.timestamp() for name in names]
    pauses = [later - earlier for earlier, later in itertools.pairwise(sorted(starts))]
    assert min(pauses) >= 0.19


async def test_a_record_handed_out_twice_in_one_generation_counts_once() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "wait")
        await until(lambda: world.script.running)
        w.owner.received(w.owner.entries["t"].record)
        world.script.let_go("t")
        await until(lambda: world.lag == 0)
    assert world.script.started == ["t"]


async def test_a_worker_without_shards_is_settled() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: set()})
        assert w.owner.settled
        assert not w.owner.positions()
