"""A class of a test's own on a real broker: tasks, workers inside and outside this process, and what the log says."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.worker import WorkerConfig, run_worker
from domain.states import TERMINAL, TaskStatus
from domain.task import TaskState, evolve
from schemas.codec import decode
from schemas.events import LifecycleEvent, TaskSubmitted
from streams import history, topics
from streams.admin import ensure_topics
from streams.log import EventLog
from tests.support.memory_worker import until
from tests.support.shards import committed
from tests.support.worker_main import config_of, registry_of

ROOT = Path(__file__).parents[2]


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


@asynccontextmanager
async def open_scene(kafka: str, tmp_path: Path, *, shards: int = 4) -> AsyncIterator[Scene]:
    """A new class, followed from now on."""
    await ensure_topics(kafka, topics.SHARED)
    async with EventLog(kafka) as log, history.reader(kafka, [topics.LIFECYCLE]) as reader:
        await reader.seek_to_end()
        for partition in reader.assignment():
            await reader.position(partition)
        made = Scene(kafka, log, reader, tmp_path)
        await ensure_topics(kafka, topics.of_class(made.resource_class, shards))
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
        async with asyncio.timeout(60):
            await running


async def eventually(check: Callable[[], Any], *, seconds: float = 10) -> None:
    """Return once an asynchronous check holds."""
    async with asyncio.timeout(seconds):
        while not await check():
            await asyncio.sleep(0.1)
