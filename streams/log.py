"""Appending to the log: one idempotent producer a process, every append acknowledged by all in-sync replicas."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from domain.errors import PenstockError
from schemas.codec import AnyMessage, encode
from schemas.commands import TaskCommand
from schemas.configuration import ConfigurationEvent
from schemas.envelope import Headers, headers
from schemas.events import LifecycleEvent, TaskSubmitted
from schemas.workflows import WorkflowSubmitted
from streams import clients, partitioner, topics
from streams.partition_batches import PartitionBatches


class LogUnavailable(PenstockError):
    """The log did not acknowledge an append in time. It may be written all the same: repeat it with the same id."""


class RecordTooLarge(PenstockError):
    """The record is larger than the broker takes; put large content into the artifact store."""


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a record lies."""

    topic: str
    partition: int
    offset: int


class Append(NamedTuple):
    """A message, and where it goes."""

    message: AnyMessage
    topic: str
    key: str
    #: W3C trace context.
    traceparent: str | None


class EventLog:
    """Appends messages under their topic and key, in the order of the calls."""

    def __init__(self, bootstrap_servers: str, *, client_id: str = "penstock", timeout_seconds: float = 10.0) -> None:
        self._timeout_seconds = timeout_seconds
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap_servers,
            client_id=client_id,
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=int(timeout_seconds * 1000),
            max_request_size=topics.RECORD_BYTES_MAX,
            max_batch_size=128 * 1024,
            partitioner=partitioner.partition_of,
        )

    async def __aenter__(self) -> Self:
        await clients.start(self._producer)
        return self

    async def __aexit__(self, *_: object) -> None:
        await clients.stop(self._producer, self._timeout_seconds)

    async def submit(self, submission: TaskSubmitted) -> Appended:
        """Accept a task: one record on its class topic."""
        topic = topics.band_of(submission.resource_class, submission.priority)
        future = await self.send(submission, topic, submission.routing_key, traceparent=submission.traceparent)
        return await self.acknowledged(future)

    async def hold(self, submission: TaskSubmitted) -> Appended:
        """Hand work that must wait to the intake."""
        future = await self.send(submission, topics.INTAKE, submission.task_id, traceparent=submission.traceparent)
        return await self.acknowledged(future)

    async def workflow(self, workflow: WorkflowSubmitted) -> Appended:
        """Accept a workflow: one record, of which intake makes the tasks."""
        future = await self.send(workflow, topics.INTAKE, workflow.workflow_id, traceparent=workflow.traceparent)
        return await self.acknowledged(future)

    async def command(self, command: TaskCommand) -> Appended:
        """Ask a task's owner for something."""
        return await self.acknowledged(await self.send(command, topics.COMMANDS, command.task_id))

    async def change(self, change: ConfigurationEvent) -> Appended:
        """Record a change of the configuration."""
        return await self.acknowledged(await self.send(change, topics.REGISTRY, change.subject))

    async def record(self, fact: LifecycleEvent, traceparent: str | None = None) -> asyncio.Future[Any]:
        """Begin to append a fact; await `acknowledged(...)` on what comes back before acting on it."""
        return await self.send(fact, topics.LIFECYCLE, fact.task_id, traceparent=traceparent)

    async def record_all(self, facts: Iterable[tuple[LifecycleEvent, str | None]]) -> list[asyncio.Future[Any]]:
        """Begin to append facts, each with its trace context, in order; all of them within one timeout.

        What comes back stands for all of them: one future for what goes to one partition together.
        Raises as `append` does; some of them may then be written all the same.
        """
        records = (
            (encode(fact), fact.task_id.encode(), headers(fact, traceparent=traceparent)) for fact, traceparent in facts
        )
        async with self._bounded(topics.LIFECYCLE):
            return await self._begin_all(topics.LIFECYCLE, records)

    async def send_all(self, appends: Iterable[Append]) -> list[asyncio.Future[Any]]:
        """Begin several appends, in order, each with a future of its own; all of them within one timeout.

        Raises as `append` does; some of them may then be written all the same.
        """
        all_of_them = list(appends)
        async with self._bounded(", ".join(sorted({each.topic for each in all_of_them}))):
            return [
                await self._begin(topic, encode(message), key.encode(), headers(message, traceparent=traceparent))
                for message, topic, key, traceparent in all_of_them
            ]

    async def fact(self, fact: LifecycleEvent) -> Appended:
        """Append a fact and wait for the acknowledgement."""
        return await self.acknowledged(await self.record(fact))

    async def progress(self, task_id: str, report: Mapping[str, object]) -> None:
        """Append a progress report; nobody waits for its acknowledgement, since the next one supersedes it."""
        value = json.dumps(report, separators=(",", ":")).encode()
        await self.append(topics.PROGRESS, value, task_id.encode(), [("content-type", b"application/json")])

    async def send(
        self, message: AnyMessage, topic: str, key: str, *, traceparent: str | None = None
    ) -> asyncio.Future[Any]:
        """Begin to append a message under a topic and key."""
        return await self.append(topic, encode(message), key.encode(), headers(message, traceparent=traceparent))

    async def append(
        self, topic: str, value: bytes | None, key: bytes | None, record_headers: Headers, partition: int | None = None
    ) -> asyncio.Future[Any]:
        """Begin to append bytes as they are: copies, dead letters.

        Raises:
            LogUnavailable: the producer's buffer stayed full, or the topic's partitions are not known.
            RecordTooLarge: the broker would refuse it.
        """
        if value is None and key is None:
            # Kafka takes such a record, but aiokafka refuses to send it; a foreign one must reach the dead letters.
            key = b""
        async with self._bounded(topic):
            return await self._begin(topic, value, key, record_headers, partition)

    async def _begin(
        self, topic: str, value: bytes | None, key: bytes | None, record_headers: Headers, partition: int | None = None
    ) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = await self._producer.send(
            topic, value=value, key=key, headers=record_headers, partition=partition
        )
        return future

    async def _begin_all(
        self, topic: str, records: Iterable[tuple[bytes, bytes, Headers]]
    ) -> list[asyncio.Future[Any]]:
        partitions = sorted(await self._producer.partitions_for(topic))
        batches = PartitionBatches(self._producer, topic)
        for value, key, record_headers in records:
            partition = partitioner.partition_of(key, partitions, partitions)
            await batches.append(partition, value, key, record_headers)
        return await batches.sent()

    @asynccontextmanager
    async def _bounded(self, topic: str) -> AsyncIterator[None]:
        """Room in the producer's buffer, and the topic's partitions, are waited for so long and no longer."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                yield
        except MessageSizeTooLargeError as error:
            raise RecordTooLarge(f"a record for {topic} is larger than {topics.RECORD_BYTES_MAX} bytes") from error
        except (KafkaError, TimeoutError) as error:
            raise LogUnavailable(f"cannot append to {topic}: {error or type(error).__name__}") from error

    async def acknowledged(self, future: asyncio.Future[Any]) -> Appended:
        """Where the record lies, once all in-sync replicas have it.

        Raises:
            LogUnavailable: no acknowledgement within the timeout.
        """
        try:
            async with asyncio.timeout(self._timeout_seconds):
                written = await asyncio.shield(future)
        except (KafkaError, TimeoutError) as error:
            raise LogUnavailable(f"the log did not acknowledge an append: {error or type(error).__name__}") from error
        return Appended(written.topic, written.partition, written.offset)

    async def all_acknowledged(self, futures: Iterable[asyncio.Future[Any]]) -> None:
        """Wait for several appends at the price of one wait.

        Raises:
            LogUnavailable: one of them was not acknowledged within the timeout.
        """
        pending = list(futures)
        if not pending:
            return
        done, late = await asyncio.wait(pending, timeout=self._timeout_seconds)
        if late:
            raise LogUnavailable(f"the log did not acknowledge {len(late)} of {len(pending)} appends in time")
        for future in done:
            if error := future.exception():
                raise LogUnavailable(f"the log did not acknowledge an append: {error}") from error

    async def flush(self) -> None:
        """Wait until everything that was begun is acknowledged or has failed."""
        await self._producer.flush()
