"""The real owner, dispatcher, window and outbox of a worker, on a log and a group in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from agents.artifacts import ArtifactStore
from agents.attempts import AttemptRunner
from agents.context import TaskContext
from agents.core import Core, CoreConfig, make_core
from agents.departures import Router
from agents.dispatcher import Dispatcher
from agents.engines.engines import Engines
from agents.engines.local_models import LocalModels
from agents.handlers.registry import Registry
from agents.handlers.settings import HandlerSettings
from agents.limits.gates import Gates
from agents.outbox import Outbox
from agents.owner import Owner
from agents.relocation import LagBound, Relocation
from agents.room import Room
from agents.window import Window
from domain.configuration import Configuration
from domain.errors import TaskError
from domain.retry import RetryPolicy
from domain.strategies.choice import StrategyChoice
from schemas.events import TaskSubmitted
from streams.log import Appended
from streams.topics import class_topics
from tests.support.given import submitted
from tests.support.memory_log import MemoryLog, partition_of
from tests.support.memory_stream import MemoryGroup, MemoryStream

CLASS = "cpu"


class StepPayload(BaseModel):
    """What a scripted task does; see `Script.step`."""

    then: str = "return"


@dataclass
class Script:
    """A handler that a test steers, and what it has seen."""

    #: Tasks in the order of their starts, once an attempt.
    started: list[str] = field(default_factory=list)
    running: set[str] = field(default_factory=set)
    running_max: int = 0
    #: Tasks that were cancelled while they ran.
    cancelled: list[str] = field(default_factory=list)
    #: How far tasks of type `count` are, and what their attempts began at.
    counts: dict[str, int] = field(default_factory=dict)
    resumed_at: list[object] = field(default_factory=list)
    _gates: dict[str, asyncio.Event] = field(default_factory=dict)

    def let_go(self, task_id: str) -> None:
        """A task that waits for the test may end."""
        self._gates.setdefault(task_id, asyncio.Event()).set()

    async def step(self, payload: StepPayload, ctx: TaskContext) -> Mapping[str, object]:
        """Waits for the test (`wait`), fails for good (`refuse`), fails for now (`fail`, `fail-once`), or returns.

        `slow-down`: is told to come back in 20 ms, until the test lets it go.
        """
        self.started.append(ctx.task_id)
        self.running.add(ctx.task_id)
        self.running_max = max(self.running_max, len(self.running))
        try:
            match payload.then:
                case "wait":
                    await self._gates.setdefault(ctx.task_id, asyncio.Event()).wait()
                case "refuse":
                    raise TaskError("refused", "no")
                case "fail":
                    raise TaskError("busy", "later", retryable=True)
                case "fail-once" if self.started.count(ctx.task_id) == 1:
                    raise TaskError("busy", "later", retryable=True)
                case "slow-down" if not self._gates.setdefault(ctx.task_id, asyncio.Event()).is_set():
                    raise TaskError("rate_limited", "slow down", retryable=True, retry_after_seconds=0.02)
                case "cancel-itself":
                    raise asyncio.CancelledError
            return {"attempt": ctx.attempt}
        except asyncio.CancelledError:
            self.cancelled.append(ctx.task_id)
            raise
        finally:
            self.running.discard(ctx.task_id)

    async def count(self, payload: StepPayload, ctx: TaskContext) -> Mapping[str, object]:
        """Counts on from its checkpoint until the test lets it go."""
        self.started.append(ctx.task_id)
        self.running.add(ctx.task_id)
        self.resumed_at.append(ctx.checkpointed)
        if payload.then == "stay":
            ctx.not_preemptible()
        number = int(ctx.checkpointed["number"]) if ctx.checkpointed else 0
        try:
            while not self._gates.setdefault(ctx.task_id, asyncio.Event()).is_set():
                number += 1
                self.counts[ctx.task_id] = number
                await ctx.checkpoint({"number": number, "padding": "x" * (100_000 if payload.then == "large" else 0)})
                await asyncio.sleep(0)
            return {"number": number}
        finally:
            self.running.discard(ctx.task_id)

    async def alive(self, payload: StepPayload, ctx: TaskContext) -> Mapping[str, object]:
        """Gives signs of life, if told to `beat`, until the test lets it go."""
        self.started.append(ctx.task_id)
        while not self._gates.setdefault(ctx.task_id, asyncio.Event()).is_set():
            if payload.then == "beat":
                await ctx.heartbeat()
            await asyncio.sleep(0.005)
        return {}


@dataclass
class World:
    """One log, one group, and the script of all workers."""

    log: MemoryLog = field(default_factory=MemoryLog)
    script: Script = field(default_factory=Script)
    artifacts_url: str = "memory://penstock-tests"
    group: MemoryGroup = field(init=False)

    def __post_init__(self) -> None:
        self.group = MemoryGroup(self.log, tuple(class_topics(CLASS)))

    async def submit(self, task_id: str, then: str = "return", **changes: Any) -> Appended:
        """Accept a task, and hand it out."""
        submission = submission_of(task_id, then, **changes)
        written = await self.log.submit(submission)
        self.group.deliver()
        return written

    @property
    def lag(self) -> int:
        """Records that are not committed."""
        return sum(
            len(part) - self.group.committed.get(band, 0)
            for band, part in self.log.partitions.items()
            if band[0] in self.group.names
        )


def submission_of(task_id: str, then: str = "return", **changes: Any) -> TaskSubmitted:
    """A scripted task with two attempts."""
    values: dict[str, Any] = {"type": "step", "resource_class": CLASS, "payload": f'{{"then":"{then}"}}'}
    return submitted(task_id=task_id, routing_key=task_id, **values | changes)


@dataclass(eq=False)
class MemoryWorker:
    """A worker as `agents.worker` wires it."""

    stream: MemoryStream
    core: Core
    outbox: Outbox
    relocation: Relocation
    #: Moments from which the commands were asked for again.
    rewinds: list[int]
    services: list[asyncio.Task[None]]

    @property
    def owner(self) -> Owner:
        """See `Core`."""
        return self.core.owner

    @property
    def window(self) -> Window:
        """See `Core`."""
        return self.core.window

    @property
    def dispatcher(self) -> Dispatcher:
        """See `Core`."""
        return self.core.dispatcher

    def configure(self, **changes: Any) -> None:
        """Have the registry say this from now on."""
        strategies = {CLASS: self.core.steering.choice}
        self.dispatcher.configure(Configuration(**{"strategies": strategies, **changes}))

    async def kill(self) -> None:
        """End as SIGKILL does: nothing more is written, nothing handed back."""
        for task in self.services:
            task.cancel()
        await asyncio.gather(*self.services, return_exceptions=True)
        for entry in self.owner.entries.values():
            entry.lost = True
            if entry.execution is not None:
                entry.execution.cancel()
        await asyncio.sleep(0)


@asynccontextmanager
async def worker(
    world: World,
    *,
    slots: int = 2,
    window_size: int = 1000,
    strategy: str | StrategyChoice = "priority",
    gates: Gates | None = None,
    router: Router | None = None,
    retry: RetryPolicy | None = None,
    lag: LagBound | None = None,
    models: LocalModels | None = None,
    memory_mb: int | None = None,
) -> AsyncIterator[MemoryWorker]:
    """A worker of the world; the test assigns its shards."""
    registry = Registry()
    registry.handler("step", resource_class=CLASS, payload=StepPayload, version=7)(world.script.step)
    registry.handler("count", resource_class=CLASS, payload=StepPayload, preemptible=True)(world.script.count)
    registry.handler("alive", resource_class=CLASS, payload=StepPayload, heartbeat_timeout_seconds=0.2)(
        world.script.alive
    )
    registry.handler("heavy", resource_class=CLASS, payload=StepPayload, memory_mb=600)(world.script.step)
    registry.handler("text", resource_class=CLASS, payload=StepPayload, routed_by_model=True)(world.script.step)
    settings = HandlerSettings()
    runner = AttemptRunner(
        registry=registry,
        settings=settings,
        engines=Engines(settings, processes_max=1),
        artifacts=ArtifactStore(world.artifacts_url),
        log=world.log,
        retry=retry or RetryPolicy(delay_seconds=0.0),
    )
    stream = MemoryStream(world.group)
    outbox = Outbox(world.log, certain=lambda: stream.in_session)
    rewinds: list[int] = []
    choice = strategy if isinstance(strategy, StrategyChoice) else StrategyChoice(strategy)
    config = CoreConfig(
        resource_class=CLASS,
        topics=world.group.names,
        slots=slots,
        window_size=window_size,
        configuration=Configuration(strategies={CLASS: choice}),
    )
    core = make_core(
        config,
        stream,
        world.log,
        outbox,
        runner,
        gates or Gates(CLASS, slots=slots),
        recover=world.group.recover,
        commands_from=rewinds.append,
        router=router,
        room=Room(registry, models or runner.engines.local_models, memory_mb),
    )
    owner, dispatcher = core.owner, core.dispatcher
    await stream.start(owner)
    services = [asyncio.create_task(outbox.run()), asyncio.create_task(dispatcher.run(owner))]
    relocation = Relocation(owner, world.log, lag or LagBound())
    made = MemoryWorker(stream, core, outbox, relocation, rewinds, services)
    try:
        yield made
    finally:
        await made.kill()


async def until(condition: Callable[[], object], *, what: str = "", seconds: float = 30.0) -> None:
    """Return once the condition holds.

    Raises:
        AssertionError: it does not hold within the seconds.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain {what}")
        await asyncio.sleep(0.002)


def neighbour(written: Appended) -> str:
    """Id of a task of the same shard."""
    return next(f"t-{number}" for number in range(100) if partition_of(f"t-{number}".encode()) == written.partition)
