"""A log, a broker and a read model in memory, for tests of the doors: the projector runs when a test lets it."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from api.ports import ApiDeps, ApiSettings
from domain.catalogue import Catalogue, TaskType
from schemas.codec import Message, decode
from schemas.commands import TaskCommand
from schemas.configuration import ConfigurationEvent
from schemas.envelope import Headers
from schemas.events import LifecycleEvent, TaskSubmitted
from schemas.workflows import WorkflowSubmitted
from streams import topics
from streams.log import Append, Appended, LogUnavailable
from tests.support.memory_read_model import MemoryReadModel, topics_of_class
from tests.support.memory_registry import MemoryRegistry


class EchoPayload(BaseModel):
    """A payload with a required field, a bounded one and room for more."""

    model_config = ConfigDict(extra="allow")

    text: str
    times: int = 1


class OtherPayload(BaseModel):
    """A payload that refuses what it does not know."""

    model_config = ConfigDict(extra="forbid")

    url: str


CATALOGUE = Catalogue(
    [
        TaskType("echo", "cpu", EchoPayload, description="Says it again."),
        TaskType("fetch", "io", OtherPayload),
        TaskType("chat", "llm", EchoPayload, routed_by_model=True),
    ]
)
CLASSES = ("cpu", "io")


@dataclass
class MemoryLog:
    """Implements `api.ports.Log` and `streams.ports.Appends`; one partition a topic."""

    records: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    #: Topic, key and headers of what was appended as bytes.
    envelopes: list[tuple[str, bytes | None, dict[str, bytes]]] = field(default_factory=list)
    down: bool = False
    #: Appends wait for it where a test wants them to overlap.
    gate: asyncio.Event | None = None

    async def submit(self, submission: TaskSubmitted) -> Appended:
        """One record on the class topic."""
        return await self.write(topics.band_of(submission.resource_class, submission.priority), submission)

    async def hold(self, submission: TaskSubmitted) -> Appended:
        """One record for intake."""
        return await self.write(topics.INTAKE, submission)

    async def workflow(self, workflow: WorkflowSubmitted) -> Appended:
        """One record for intake."""
        return await self.write(topics.INTAKE, workflow)

    async def fact(self, fact: LifecycleEvent) -> Appended:
        """One record on task-lifecycle."""
        return await self.write(topics.LIFECYCLE, fact)

    async def command(self, command: TaskCommand) -> Appended:
        """One record on task-commands."""
        return await self.write(topics.COMMANDS, command)

    async def change(self, change: ConfigurationEvent) -> Appended:
        """One record in the registry."""
        return await self.write(topics.REGISTRY, change)

    async def record(self, fact: LifecycleEvent, traceparent: str | None = None) -> asyncio.Future[Any]:
        """One record on task-lifecycle."""
        return self._done(await self.write(topics.LIFECYCLE, fact))

    async def send(
        self, message: Message, topic: str, key: str, *, traceparent: str | None = None
    ) -> asyncio.Future[Any]:
        """One record."""
        return self._done(await self.write(topic, message))

    async def send_all(self, appends: Iterable[Append]) -> list[asyncio.Future[Any]]:
        """One record each."""
        return [self._done(await self.write(each.topic, each.message)) for each in appends]

    async def append(
        self, topic: str, value: bytes | None, key: bytes | None, record_headers: Headers, partition: int | None = None
    ) -> asyncio.Future[Any]:
        """One record, read again where it is to be a message; dead letters stay as they are."""
        letter = (value, key, dict(record_headers))
        self.envelopes.append((topic, key, dict(record_headers)))
        return self._done(await self.write(topic, letter if topic == topics.DEAD_LETTERS else decode(value or b"")))

    async def all_acknowledged(self, futures: Iterable[asyncio.Future[Any]]) -> None:
        """All have been, or have raised before."""
        await asyncio.gather(*futures)

    def _done(self, appended: Appended) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        future.set_result(appended)
        return future

    async def write(self, topic: str, message: Any) -> Appended:
        """One record."""
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise LogUnavailable("the log is away")
        self.records[topic].append(message)
        return Appended(topic, 0, len(self.records[topic]) - 1)

    @property
    def submissions(self) -> list[TaskSubmitted]:
        """What lies on the class topics."""
        return [record for name, records in self.records.items() if topics_of_class(name) for record in records]

    @property
    def commands(self) -> list[TaskCommand]:
        """What lies on task-commands."""
        return list(self.records[topics.COMMANDS])


@dataclass
class MemoryBroker:
    """Implements `api.ports.Broker`; intake is as far as the test says, by default at the end."""

    log: MemoryLog
    down: bool = False
    taken_in: int | None = None
    group_members: dict[str, int] = field(default_factory=dict)
    lags: dict[str, int] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)

    def _asked(self, name: str) -> None:
        self.calls[name] += 1
        if self.down:
            raise LogUnavailable("the broker is away")

    async def ends(self, topics: Collection[str]) -> Mapping[tuple[str, int], int]:
        """Where the log ends."""
        self._asked("ends")
        return {(topic, 0): len(self.log.records.get(topic, ())) for topic in topics}

    async def committed(self, group: str) -> Mapping[tuple[str, int], int]:
        """Where intake is."""
        self._asked("committed")
        end = len(self.log.records[topics.INTAKE])
        return {(topics.INTAKE, 0): end if self.taken_in is None else self.taken_in}

    async def members(self, groups: Sequence[str]) -> Mapping[str, int]:
        """One member a group, unless the test says otherwise."""
        self._asked("members")
        return {group: self.group_members.get(group, 1) for group in groups}

    async def lag(self, group: str, topics: Collection[str]) -> int:
        """As the test says."""
        self._asked("lag")
        return self.lags.get(group, 0)


class MemoryNotifications:
    """Implements `api.ports.Notifications`: a test calls `tell`."""

    def __init__(self) -> None:
        self._heard: Callable[[], None] = lambda: None

    async def listen(self, heard: Callable[[], None]) -> None:
        """Keep the callback, for ever."""
        self._heard = heard
        await asyncio.Event().wait()

    def tell(self) -> None:
        """Tasks have ended."""
        self._heard()


class MemoryWorld:
    """All of them together, and the application's dependencies made of them."""

    def __init__(self, **settings: Any) -> None:
        self.log = MemoryLog()
        self.read_model = MemoryReadModel(self.log)
        self.broker = MemoryBroker(self.log)
        self.registry = MemoryRegistry(self.log)
        self.notifications = MemoryNotifications()
        given: dict[str, Any] = {"version": "1.2.3", "classes": CLASSES, "lag_seconds_max": 0.2} | settings
        self.settings = ApiSettings(**given)

    @property
    def deps(self) -> ApiDeps:
        """For `create_app`."""
        return ApiDeps(
            settings=self.settings,
            catalogue=CATALOGUE,
            log=self.log,
            broker=self.broker,
            read_model=self.read_model,
            registry=self.registry,
            notifications=self.notifications,
        )

    def happens(self, *facts: LifecycleEvent) -> None:
        """What an owner writes."""
        self.log.records[topics.LIFECYCLE] += facts
