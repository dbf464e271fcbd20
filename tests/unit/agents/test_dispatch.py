"""The core of a worker, whole, on a log and a group in memory."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from agents import dispatcher
from agents import outbox as module_of_outbox
from agents.relocation import LagBound
from domain.retry import RetryPolicy
from domain.states import TaskStatus
from domain.task import fold
from schemas import events
from schemas.codec import encode
from streams import topics
from streams.log import Appended
from streams.state_header import STATE_HEADER, state_header
from tests.support.given import AT
from tests.support.memory_log import partition_of
from tests.support.memory_worker import World, submission_of, until, worker

ALL = {0, 1, 2, 3}


async def test_a_task_starts_and_ends_once_and_its_record_is_committed() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t")
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["started", "completed"]
    started = world.log.facts("t")[0]
    assert isinstance(started, events.TaskStarted)
    assert (started.attempt, started.handler_version) == (1, 7)


async def test_the_start_is_in_the_log_before_the_handler_runs() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        world.log.withhold()
        submitting = asyncio.create_task(world.submit("t", "wait"))
        await asyncio.sleep(0)
        world.log.release()
        world.log.withhold()
        await submitting
        await until(lambda: len(w.outbox) == 1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not world.script.started
        world.log.release()
        await until(lambda: world.script.started)
        assert world.log.types("t") == ["started"]


async def test_a_record_is_committed_only_when_the_end_is_in_the_log() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "wait")
        await until(lambda: world.script.running)
        world.log.withhold()
        world.script.let_go("t")
        await until(lambda: len(w.outbox) == 1)
        assert world.lag == 1
        world.log.release()
        await until(lambda: world.lag == 0)


async def test_a_cancel_ends_no_task_before_its_end_is_in_the_log() -> None:
    """The request is acknowledged while the end is only decided; a crash then must find the record again."""
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "wait")
        await until(lambda: world.script.running)
        world.log.withhold()
        w.owner.wishes.cancel("t", 1, "requested")
        await until(lambda: world.script.cancelled and len(w.outbox) == 2)
        assert w.owner.entries["t"].state.status is TaskStatus.CANCELLED
        world.log.release()
        world.log.withhold()  # the request is written, its end is not
        await until(lambda: world.log.types("t") == ["started", "cancel_requested"])
        for _ in range(20):
            await asyncio.sleep(0)
        assert world.lag == 1
        world.log.release()
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["started", "cancel_requested", "cancelled"]


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


async def test_a_cancel_after_a_rebalance_ends_the_attempt_that_began_before_it() -> None:
    """Request and end must be of one epoch: an end of the older one would count for nothing."""
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "wait")
        await until(lambda: world.script.running)
        await world.group.rebalance({w.stream: ALL})
        w.owner.wishes.cancel("t", 1, "requested")
        await until(lambda: world.lag == 0)
    assert fold("t", world.log.facts("t")).status is TaskStatus.CANCELLED


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


async def test_suspects_run_one_at_a_time() -> None:
    world = World()
    names = [f"t-{number}" for number in range(4)]
    for name in names:
        await world.submit(name, "wait")
    async with worker(world, slots=4) as dead:
        await world.group.rebalance({dead.stream: ALL})
        await until(lambda: len(world.script.running) == 4)
    for name in names:
        world.script.let_go(name)
    world.script.running_max = 0
    async with worker(world, slots=4) as w:
        await world.group.rebalance({w.stream: ALL})
        await until(lambda: world.lag == 0)
    assert world.script.running_max == 1


@pytest.mark.parametrize("then", ["wait", "return"])
async def test_a_repeated_submission_runs_once(then: str) -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", then)
        await until(lambda: world.script.started)
        await world.submit("t", then)
        world.script.let_go("t")
        await world.submit("t", then)
        await until(lambda: world.lag == 0)
        await world.submit("t", then)
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["started", "completed"]


async def test_a_repeated_submission_holds_back_its_first_record_no_less() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        first = await world.submit("t", "wait")
        await until(lambda: world.script.running)
        await world.submit("t", "wait")
        assert world.group.committed.get((first.topic, first.partition), 0) == first.offset


async def test_a_waiting_task_is_cancelled_at_once() -> None:
    world = World()
    async with worker(world, slots=1) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("first", "wait")
        await until(lambda: world.script.running)
        await world.submit("t")
        w.owner.wishes.cancel("t", 1, "requested")
        await until(lambda: world.log.types("t") == ["cancelled"])
        world.script.let_go("first")
        await until(lambda: world.lag == 0)
    assert world.script.started == ["first"]


async def test_a_task_is_cancelled_while_its_start_is_on_its_way() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        submission = await world.log.submit(submission_of("t"))
        world.log.withhold()
        world.group.deliver()
        await until(lambda: len(w.outbox) == 1)
        w.owner.wishes.cancel("t", 1, "requested")
        world.log.release()
        await until(lambda: world.lag == 0)
    assert submission.topic == "tasks-cpu-normal"
    assert world.log.types("t") == ["started", "cancel_requested", "cancelled"]
    assert not world.script.started


async def test_a_cancel_that_comes_before_its_task_counts() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        w.owner.wishes.cancel("t", 1, "requested")
        await world.submit("t")
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["cancelled"]


async def test_a_cancel_of_one_run_does_not_hit_the_next() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        w.owner.wishes.cancel("t", 1, "requested")
        await world.submit("t")
        await until(lambda: world.lag == 0)
        await world.submit("t", run=2)
        await until(lambda: world.lag == 0)
        w.owner.wishes.cancel("t", 1, "requested")
    assert world.log.types("t") == ["cancelled", "started", "completed"]


async def test_a_failed_attempt_is_repeated_when_due() -> None:
    world = World()
    async with worker(world, retry=RetryPolicy(delay_seconds=0.02)) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "fail-once")
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["started", "retry_scheduled", "started", "completed"]
    _, scheduled, again, _ = world.log.facts("t")
    assert isinstance(scheduled, events.TaskRetryScheduled)
    assert again.occurred_at >= scheduled.due_at


async def test_a_task_that_is_not_due_does_not_hold_up_the_others() -> None:
    world = World()
    async with worker(world, slots=1, retry=RetryPolicy(delay_seconds=3600)) as w:
        await world.group.rebalance({w.stream: ALL})
        while not w.owner.entries or w.window.next_at() is None:
            await world.submit("late", "fail")
            await until(lambda: "late" in world.script.started and not world.script.running)
            await asyncio.sleep(0.01)
        await world.submit("t")
        await until(lambda: world.log.types("t") == ["started", "completed"])
        assert (w.window.next_at() or AT) > datetime.now(UTC)


@pytest.mark.parametrize(
    ("then", "code"), [("refuse", "refused"), ("fail", "busy"), ("cancel-itself", "handler_error")]
)
async def test_a_task_ends_failed_with_the_reason_of_its_last_attempt(then: str, code: str) -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", then)
        await until(lambda: world.lag == 0)
    state = fold("t", world.log.facts("t"))
    assert (state.status, state.error_code) == (TaskStatus.FAILED, code)
    assert len(world.script.started) == (1 if then == "refuse" else 2)


async def test_an_attempt_that_takes_too_long_is_stopped() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "wait", timeout_seconds=0.01, attempts_max=1)
        await until(lambda: world.lag == 0)
    state = fold("t", world.log.facts("t"))
    assert (state.status, state.error_code) == (TaskStatus.FAILED, "timeout")
    assert world.script.cancelled == ["t"]


async def test_a_shutdown_hands_back_what_runs_at_no_cost() -> None:
    world = World()
    async with worker(world, slots=1) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "wait", attempts_max=1)
        await until(lambda: world.script.running)
        await w.dispatcher.drain(0.01)
        await w.outbox.drained()
        assert not w.dispatcher.active
    assert world.log.types("t") == ["started", "released"]
    world.script.let_go("t")
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["started", "released", "started", "completed"]


async def test_a_shutdown_hands_back_a_task_whose_start_is_on_its_way() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.log.submit(submission_of("t"))
        world.log.withhold()
        world.group.deliver()
        await until(lambda: len(w.outbox) == 1)
        await w.dispatcher.drain(0.01)
        world.log.release()
        await w.outbox.drained()
    assert world.log.types("t") == ["started", "released"]
    assert not world.script.started


@pytest.mark.parametrize("value", [None, b"{}", b"\xc3\x01" + bytes(20)])
async def test_an_unreadable_record_becomes_a_dead_letter_and_blocks_nothing(value: bytes | None) -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.log.append("tasks-cpu-normal", value, b"k", [("own", b"header")], partition=1)
        await world.submit("t")
        await until(lambda: world.lag == 0)
    ((_, (letter,)),) = [item for item in world.log.partitions.items() if item[0][0] == topics.DEAD_LETTERS]
    headers = dict(letter.headers)
    assert letter.value == value
    assert (headers["own"], headers["penstock-origin-topic"]) == (b"header", b"tasks-cpu-normal")
    assert headers["penstock-reason"]
    assert world.log.types("t") == ["started", "completed"]


async def test_work_of_another_class_becomes_a_dead_letter() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        foreign = replace(submission_of("t"), resource_class="llm")
        await world.log.send(foreign, "tasks-cpu-normal", "t")
        world.group.deliver()
        await until(lambda: world.lag == 0)
    assert not world.log.facts("t")
    assert any(topic == topics.DEAD_LETTERS for topic, _ in world.log.partitions)


async def test_a_second_run_waits_for_the_end_of_the_first() -> None:
    """The log has the first run's end, and the API has already sent the second, before the owner hears of it."""
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "wait", attempts_max=1)
        await until(lambda: world.script.running)
        world.log.withhold()
        world.script.let_go("t")
        await until(lambda: len(w.outbox) == 1)
        sending = asyncio.create_task(world.submit("t", run=2, attempts_before=1))
        repeating = asyncio.create_task(world.submit("t", run=2, attempts_before=1))
        await asyncio.sleep(0)
        world.log.release()
        await asyncio.gather(sending, repeating)
        await until(lambda: world.lag == 0)
    assert [(fact.run, fact.attempt) for fact in world.log.facts("t")] == [(1, 1), (1, 1), (2, 2), (2, 2)]


async def test_a_second_run_is_found_behind_the_record_of_the_first() -> None:
    """An older unfinished record holds back the first run's record: a recovery sees both runs at once."""
    world = World()
    async with worker(world, slots=3) as dead:
        await world.group.rebalance({dead.stream: ALL})
        blocker = await world.submit("blocker", "wait")
        name = neighbour(blocker)
        await world.submit(name, "refuse")
        await until(lambda: world.log.types(name) == ["started", "failed"])
        await world.submit(name, "wait", run=2, attempts_before=1)
        await until(lambda: name in world.script.running)
    world.script.let_go("blocker")
    world.script.let_go(name)
    async with worker(world, slots=3) as w:
        await world.group.rebalance({w.stream: ALL})
        await until(lambda: world.lag == 0)
    state = fold(name, world.log.facts(name))
    assert (state.run, state.status) == (2, TaskStatus.COMPLETED)
    assert state.attempts_lost == 1


async def test_a_repeat_of_the_first_run_does_not_disturb_the_second() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "refuse")
        await until(lambda: world.lag == 0)
        second = await world.submit("t", "wait", run=2, attempts_before=1)
        await until(lambda: world.script.running)
        await world.submit("t", "refuse")
        assert world.group.committed[(second.topic, second.partition)] == second.offset
        world.script.let_go("t")
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["started", "failed", "started", "completed"]


async def test_a_relocated_copy_of_the_first_run_is_not_taken_for_the_second() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        second = await world.submit("t", "wait", run=2, attempts_before=1)
        await until(lambda: world.script.running)
        copy = encode(submission_of("t"))
        header = (STATE_HEADER, state_header(fold("t", [submission_of("t")])))
        await world.log.append(second.topic, copy, b"t", [header], partition=second.partition)
        world.group.deliver()
        assert w.owner.entries["t"].record.offset == second.offset
        world.script.let_go("t")
        await until(lambda: world.lag == 0)


async def test_a_full_band_is_stopped_and_drained_and_loses_nothing() -> None:
    world = World()
    async with worker(world, slots=1, window_size=5) as w:
        names = [f"t-{number}" for number in range(60)]
        await world.submit("blocker", "wait")
        for name in names:
            await world.log.submit(submission_of(name))
        await world.group.rebalance({w.stream: ALL})
        await until(lambda: world.script.running)
        assert w.stream.stopped_bands
        await world.submit("urgent", priority=3)
        world.script.let_go("blocker")
        await until(lambda: world.lag == 0)
    assert world.script.started[:2] == ["blocker", "urgent"]
    assert sorted(world.script.started[2:]) == sorted(names)
    assert w.stream.ever_full
    assert not w.stream.stopped_bands


async def test_a_straggler_is_relocated_and_its_copy_adopted() -> None:
    world = World()
    async with worker(world, slots=2, lag=LagBound(trailing_seconds_max=0.0)) as w:
        await world.group.rebalance({w.stream: ALL})
        old = await world.submit("slow", "wait")
        await until(lambda: world.script.running)
        name = neighbour(old)
        await world.submit(name)
        await until(lambda: world.log.types(name) == ["started", "completed"])
        await until(lambda: name not in w.owner.entries)
        assert await w.relocation.check() == 1
        assert world.group.committed[(old.topic, old.partition)] == old.offset + 2
        world.group.deliver()
        assert w.owner.entries["slow"].record.offset == old.offset + 2
        assert await w.relocation.check() == 0
        world.script.let_go("slow")
        await until(lambda: world.lag == 0)
    assert world.log.types("slow") == ["started", "completed"]


async def test_a_task_that_runs_for_long_does_not_make_recoveries_longer_and_longer() -> None:
    """Also where nothing came after it on its own band: a recovery reads the facts of all tasks since its record."""
    world = World()
    async with worker(world, slots=1, lag=LagBound(age_seconds_max=0.0)) as w:
        await world.group.rebalance({w.stream: ALL})
        old = await world.submit("slow", "wait")
        await until(lambda: world.script.running)
        other = await world.log.submit(submission_of("waits", priority=3))
        world.group.deliver()
        await until(lambda: time.time() * 1000 > world.log.partitions[other.topic, other.partition][-1].timestamp)
        assert await w.relocation.check() == 1
        world.group.deliver()
        assert world.group.committed[(old.topic, old.partition)] == old.offset + 1
        assert w.owner.entries["slow"].record.offset == old.offset + 1
        assert w.owner.entries["waits"].record.offset == other.offset, "it waits for its turn, as long as it takes"
        world.script.let_go("slow")
        await until(lambda: world.lag == 0)
    assert world.log.types("slow") == ["started", "completed"]


async def test_a_relocated_retry_keeps_its_due_time_and_attempts_when_its_worker_dies() -> None:
    world = World()
    retry = RetryPolicy(delay_seconds=3600)
    async with worker(world, retry=retry, lag=LagBound(trailing_seconds_max=0.0)) as w:
        await world.group.rebalance({w.stream: ALL})
        old = await world.submit("slow", "fail", attempts_max=9)
        await until(lambda: w.window.next_at())
        state = w.owner.entries["slow"].state
        name = neighbour(old)
        await world.submit(name)
        await until(lambda: world.log.types(name) == ["started", "completed"])
        await until(lambda: name not in w.owner.entries)
        assert await w.relocation.check() == 1
    for band, part in world.log.partitions.items():
        if band[0] == topics.LIFECYCLE:
            part.clear()  # too old for the next recovery
    async with worker(world, retry=retry) as w:
        await world.group.rebalance({w.stream: ALL})
        recovered = w.owner.entries["slow"].state
        assert (recovered.status, recovered.due_at, recovered.attempt) == (state.status, state.due_at, 1)
        assert recovered.version == state.version


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


async def test_a_start_does_not_wait_behind_the_notices_of_a_backlog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "NOTICE_SECONDS", 0.0)
    monkeypatch.setattr(dispatcher, "NOTICES_MAX", 5)
    world = World()
    async with worker(world, slots=1) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("first", "wait")
        await until(lambda: world.script.running)
        for number in range(50):
            await world.log.submit(submission_of(f"t-{number}"))
        world.log.withhold()
        world.group.deliver()
        w.dispatcher.wake()
        await until(lambda: len(w.outbox) == 5)
        for _ in range(20):
            w.dispatcher.wake()
            await asyncio.sleep(0)
        assert len(w.outbox) == 5
        world.log.release()

        def all_noticed() -> bool:
            w.dispatcher.wake()
            return sum(isinstance(one, events.TaskQueued) for one in world.log.facts()) >= 50

        await until(all_noticed)


def neighbour(written: Appended) -> str:
    """Id of a task of the same shard."""
    return next(f"t-{number}" for number in range(100) if partition_of(f"t-{number}".encode()) == written.partition)
