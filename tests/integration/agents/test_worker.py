"""Whole workers on a real broker: started, stopped, killed, frozen, joined and left."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.worker import WorkerConfig, run_worker
from domain.states import TERMINAL, TaskStatus
from domain.task import TaskState, evolve
from schemas import events
from schemas.codec import decode
from schemas.commands import CancelTask
from schemas.events import LifecycleEvent, TaskSubmitted
from streams import history, topics
from streams.admin import ensure_topics
from streams.log import EventLog
from tests.support.memory_worker import until
from tests.support.shards import committed
from tests.support.worker_main import config_of, registry_of

pytestmark = [pytest.mark.external_service, pytest.mark.slow]
ROOT = Path(__file__).parents[3]


@dataclass
class Scene:
    """A class of the test's own, and all that the log says about its tasks."""

    kafka: str
    log: EventLog
    reader: AIOKafkaConsumer
    tmp_path: Path
    resource_class: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:10]}")
    submissions: dict[str, TaskSubmitted] = field(default_factory=dict)
    states: dict[str, TaskState] = field(default_factory=dict)
    facts: defaultdict[str, list[LifecycleEvent]] = field(default_factory=lambda: defaultdict(list))
    #: Terminal states that were reached, by the rules of `evolve`.
    ends: defaultdict[str, list[TaskStatus]] = field(default_factory=lambda: defaultdict(list))
    processes: int = 0

    async def submit(self, count: int = 1, *, name: str = "t", priority: int = 2, **payload: Any) -> list[str]:
        """Accept tasks; their ids."""
        ids = [f"{self.resource_class}-{name}-{number}" for number in range(count)]
        attempts_max = payload.pop("attempts_max", 4)
        futures = []
        for task_id in ids:
            submission = TaskSubmitted(
                task_id=task_id,
                occurred_at=datetime.now(UTC),
                type="step",
                resource_class=self.resource_class,
                routing_key=task_id,
                priority=priority,
                payload=json.dumps(payload),
                attempts_max=attempts_max,
            )
            self.submissions[task_id] = submission
            self.states[task_id] = evolve(TaskState(task_id=task_id), submission)
            futures.append(await self.log.send(submission, topics.band_of(self.resource_class, priority), task_id))
        await self.log.all_acknowledged(futures)
        return ids

    async def follow(self) -> None:
        """Read on for ever."""
        while True:
            for records in (await self.reader.getmany(timeout_ms=100)).values():
                for record in records:
                    if record.key.decode() in self.submissions:
                        self._take(decode(record.value))

    def _take(self, fact: Any) -> None:
        before = self.states[fact.task_id]
        after = self.states[fact.task_id] = evolve(before, fact)
        self.facts[fact.task_id].append(fact)
        if after.status in TERMINAL and after is not before:
            self.ends[fact.task_id].append(TaskStatus(str(after.status)))

    def count(self, status: TaskStatus, ids: Iterable[str] | None = None) -> int:
        """Tasks that are in a state."""
        return sum(self.states[task_id].status is status for task_id in ids or self.states)

    async def until_all(self, status: TaskStatus, ids: list[str] | None = None, *, seconds: float = 60) -> None:
        """Return once all the tasks have ended so, each once."""
        wanted = ids or list(self.states)
        await until(lambda: self.count(status, wanted) == len(wanted), what=f"for {status}", seconds=seconds)
        assert {task_id: self.ends[task_id] for task_id in wanted} == {task_id: [status] for task_id in wanted}

    def types(self, task_id: str) -> list[str]:
        """What happened to a task, without the notices that it waits."""
        return [fact.TYPE.removeprefix("task.") for fact in self.facts[task_id] if fact.TYPE != "task.queued"]

    @asynccontextmanager
    async def worker(self, **changes: Any) -> AsyncIterator[asyncio.subprocess.Process]:
        """A worker in a process of its own."""
        said = {"bootstrap_servers": self.kafka, "resource_class": self.resource_class, **changes}
        self.processes += 1
        with (self.tmp_path / f"worker-{self.processes}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.support.worker_main", json.dumps(said)),
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def lag(self, config: WorkerConfig) -> int:
        """Records of the class that are not committed."""
        done = await committed(config.membership)
        bands = [(topic, shard) for topic in config.membership.topics for shard in range(config.shards)]
        ends = await self.reader.end_offsets([TopicPartition(*band) for band in bands])
        return sum(int(end) - done.get((tp.topic, tp.partition), 0) for tp, end in ends.items())


@pytest.fixture
async def scene(kafka: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """A new class, followed from now on."""
    await ensure_topics(kafka, topics.SHARED)
    async with EventLog(kafka) as log, history.reader(kafka, [topics.LIFECYCLE]) as reader:
        await reader.seek_to_end()
        for partition in reader.assignment():
            await reader.position(partition)
        made = Scene(kafka, log, reader, tmp_path)
        await ensure_topics(kafka, topics.of_class(made.resource_class, 4))
        following = asyncio.create_task(made.follow())
        try:
            yield made
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


@asynccontextmanager
async def working(scene: Scene, **changes: Any) -> AsyncIterator[WorkerConfig]:
    """A worker in this process."""
    config = config_of(scene.kafka, scene.resource_class, **changes)
    stop = asyncio.Event()
    running = asyncio.create_task(run_worker(config, registry_of(scene.resource_class), stop))
    try:
        yield config
    finally:
        stop.set()
        async with asyncio.timeout(20):
            await running


async def eventually(check: Callable[[], Any], *, seconds: float = 10) -> None:
    """Return once an asynchronous check holds."""
    async with asyncio.timeout(seconds):
        while not await check():
            await asyncio.sleep(0.1)


async def test_tasks_of_all_bands_run_and_their_records_are_committed(scene: Scene) -> None:
    for priority in (1, 2, 3):
        await scene.submit(10, name=f"p{priority}", priority=priority)
    async with working(scene) as config:
        await scene.until_all(TaskStatus.COMPLETED)

        async def all_committed() -> bool:
            return await scene.lag(config) == 0

        await eventually(all_committed)
    assert {tuple(scene.types(task_id)) for task_id in scene.states} == {("started", "completed")}


async def test_a_stopped_worker_hands_back_and_its_successor_goes_on_at_once(scene: Scene) -> None:
    """Orderly: no attempt is charged, and nobody waits for a session to run out."""
    (slow,) = await scene.submit(seconds=30.0, attempts_max=1)
    async with working(scene, drain_seconds=0.2):
        await until(lambda: scene.states[slow].status is TaskStatus.RUNNING, seconds=20)
    await until(lambda: scene.types(slow) == ["started", "released"], seconds=5)
    async with working(scene, drain_seconds=0.2):
        await until(lambda: scene.types(slow)[2:3] == ["started"], seconds=5)
    assert scene.states[slow].attempts_lost == 0


async def test_a_running_task_is_cancelled(scene: Scene) -> None:
    (task,) = await scene.submit(seconds=60.0)
    async with working(scene):
        await until(lambda: scene.states[task].status is TaskStatus.RUNNING, seconds=20)
        await scene.log.command(CancelTask(task_id=task, requested_at=datetime.now(UTC)))
        await scene.until_all(TaskStatus.CANCELLED, seconds=10)
    assert scene.types(task) == ["started", "cancel_requested", "cancelled"]


async def test_a_cancel_from_before_the_worker_counts(scene: Scene) -> None:
    (task,) = await scene.submit(name="dead", seconds=1.0)
    await scene.log.command(CancelTask(task_id=task, requested_at=datetime.now(UTC)))
    async with working(scene):
        await until(lambda: scene.states[task].terminal, seconds=20)
    assert scene.states[task].status is TaskStatus.CANCELLED


async def test_a_high_task_behind_two_thousand_low_ones_starts_next(scene: Scene) -> None:
    low = await scene.submit(2_000, name="low", priority=1, seconds=0.05)
    async with working(scene, slots=2):
        await until(lambda: scene.count(TaskStatus.COMPLETED, low) >= 20, seconds=30)
        before = scene.count(TaskStatus.COMPLETED, low)
        (high,) = await scene.submit(name="high", priority=3)
        await scene.until_all(TaskStatus.COMPLETED, [high], seconds=10)
        accepted, started = scene.submissions[high].occurred_at, scene.states[high].started_at
        assert started is not None
        between = [
            fact
            for task_id in low
            for fact in scene.facts[task_id]
            if isinstance(fact, events.TaskStarted) and accepted <= fact.occurred_at < started
        ]
        # Those that start while the record is on its way, and as many as there are slots.
        assert len(between) <= 8
        assert before < 1_900


async def test_a_retry_far_off_does_not_hold_back_the_committed_offset(scene: Scene) -> None:
    (late,) = await scene.submit(name="late", then="later")
    lag = {"trailing_seconds_max": 0.5, "check_seconds": 0.2}
    async with working(scene, lag=lag) as config:
        await until(lambda: scene.states[late].status is TaskStatus.RETRY_SCHEDULED, seconds=20)
        await scene.submit(40, name="after")
        await scene.until_all(TaskStatus.COMPLETED, [task for task in scene.states if task != late])

        async def only_the_copy_is_left() -> bool:
            return await scene.lag(config) == 1

        await eventually(only_the_copy_is_left)
    state = scene.states[late]
    async with working(scene):
        (other,) = await scene.submit(name="other")
        await scene.until_all(TaskStatus.COMPLETED, [other], seconds=20)
        await scene.log.command(CancelTask(task_id=late, requested_at=datetime.now(UTC)))
        await scene.until_all(TaskStatus.CANCELLED, [late], seconds=10)
    assert scene.types(late) == ["started", "retry_scheduled", "cancelled"]
    assert state.due_at is not None


async def test_a_killed_worker_loses_nothing(scene: Scene) -> None:
    await scene.submit(300, seconds=0.03)
    async with scene.worker() as first:
        await until(lambda: scene.count(TaskStatus.COMPLETED) >= 60, seconds=30)
        first.kill()
        await first.wait()
        assert scene.count(TaskStatus.COMPLETED) < 300
    async with scene.worker():
        await scene.until_all(TaskStatus.COMPLETED)
    started = Counter(fact.TYPE for facts in scene.facts.values() for fact in facts)
    assert started["task.attempt_lost"] <= 4
    assert started["task.started"] == 300 + started["task.attempt_lost"]


async def test_a_task_that_kills_its_worker_ends_failed_and_its_neighbours_complete(scene: Scene) -> None:
    neighbours = await scene.submit(12, name="n", seconds=0.3)
    (killer,) = await scene.submit(name="killer", then="die", seconds=0.2, attempts_max=2)
    deaths = 0
    while not scene.states[killer].terminal:
        async with scene.worker() as process:
            dead = asyncio.create_task(process.wait())
            ended = asyncio.create_task(until(lambda: scene.states[killer].terminal, seconds=60))
            await asyncio.wait([dead, ended], return_when=asyncio.FIRST_COMPLETED)
            deaths += dead.done()
            if ended.done():
                await scene.until_all(TaskStatus.COMPLETED, neighbours)
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)
        await dead
    assert deaths == 2
    assert scene.ends[killer] == [TaskStatus.FAILED]
    assert scene.states[killer].error_code == "attempt_lost"


async def test_workers_join_and_leave_under_load(scene: Scene) -> None:
    await scene.submit(800, seconds=0.15, attempts_max=20)
    async with scene.worker() as first:
        await until(lambda: scene.count(TaskStatus.COMPLETED) >= 40, seconds=30)
        async with scene.worker():
            await until(lambda: pids(scene) >= 2, seconds=30)
            first.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(first.wait(), 15) == 0
            async with scene.worker():
                await scene.until_all(TaskStatus.COMPLETED, seconds=90)
    assert pids(scene) >= 2


def pids(scene: Scene) -> int:
    """Number of processes that have completed something."""
    return len({json.loads(state.result)["pid"] for state in scene.states.values() if state.result})


async def test_a_frozen_worker_changes_nothing_when_it_wakes(scene: Scene) -> None:
    """Its session has run out, another worker has taken over, and it still holds a running task and its result."""
    tasks = await scene.submit(3, seconds=4.0)
    async with scene.worker() as zombie:
        await until(lambda: scene.count(TaskStatus.RUNNING) == 3, seconds=30)
        zombie.send_signal(signal.SIGSTOP)
        async with scene.worker():
            await until(lambda: any(scene.types(task).count("started") == 2 for task in tasks), seconds=40)
            zombie.send_signal(signal.SIGCONT)
            await scene.until_all(TaskStatus.COMPLETED, seconds=60)
            await scene.submit(20, name="after")
            await scene.until_all(TaskStatus.COMPLETED, seconds=60)
    for task in tasks:
        first = next(fact for fact in scene.facts[task] if isinstance(fact, events.TaskStarted))
        counted = next(
            fact
            for fact in scene.facts[task]
            if isinstance(fact, events.TaskCompleted) and fact.result == scene.states[task].result
        )
        assert counted.epoch > first.epoch, "the frozen worker's own attempt does not count"
