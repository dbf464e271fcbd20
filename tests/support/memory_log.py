"""An event log in memory for tests of the dispatch: real messages, and acknowledgements that a test can hold back."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from schemas.codec import decode
from schemas.envelope import Headers
from schemas.events import LifecycleEvent, TaskSubmitted
from streams import topics
from streams.log import Appended, EventLog, LogUnavailable

SHARDS = 4


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """One record, with the names that aiokafka gives its parts."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def partition_of(key: bytes) -> int:
    """Where a record of this key lies."""
    return zlib.crc32(key) % SHARDS


class MemoryLog(EventLog):
    """Everything that `EventLog` says, on lists. The clock moves a millisecond at least with each record."""

    def __init__(self, timeout_seconds: float = 10.0) -> None:
        self._timeout_seconds = timeout_seconds
        self.timeouts = 0
        self.partitions: defaultdict[tuple[str, int], list[MemoryRecord]] = defaultdict(list)
        self._now_ms = 0
        self._held: list[tuple[asyncio.Future[Any], tuple[Any, ...]]] | None = None
        #: How many of the next appends are refused, as by a broker that is away.
        self.refusals = 0

    @property
    def withheld(self) -> int:
        """Appends that wait for `release`."""
        return len(self._held or ())

    def withhold(self) -> None:
        """From now on nothing is written or acknowledged."""
        self._held = []

    def release(self) -> None:
        """Write and acknowledge what was held, in order, and whatever comes after."""
        held, self._held = self._held or [], None
        for future, record in held:
            future.set_result(self._write(*record))

    def facts(self, task_id: str | None = None) -> list[LifecycleEvent]:
        """Facts on task-lifecycle, of one task or of all, in the order of the log."""
        records = (each for (topic, _), part in self.partitions.items() if topic == topics.LIFECYCLE for each in part)
        found = []
        for record in sorted(records, key=lambda record: record.timestamp):
            fact = decode(record.value or b"")
            assert not isinstance(fact, TaskSubmitted), "submissions have topics of their own"
            if task_id in (None, fact.task_id):
                found.append(fact)
        return found  # type: ignore[return-value]  # commands have a topic of their own

    def types(self, task_id: str) -> list[str]:
        """What happened to a task, without the notices that it waits."""
        return [fact.TYPE.removeprefix("task.") for fact in self.facts(task_id) if fact.TYPE != "task.queued"]

    async def _begin(
        self, topic: str, value: bytes | None, key: bytes | None, record_headers: Headers, partition: int | None = None
    ) -> asyncio.Future[Any]:
        if self.refusals:
            self.refusals -= 1
            raise LogUnavailable("the broker is away")
        if partition is None:
            partition = partition_of(key or b"")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        record = (topic, partition, value, key, tuple(record_headers))
        if self._held is None:
            future.set_result(self._write(*record))
        else:
            self._held.append((future, record))
        return future

    async def _begin_all(
        self, topic: str, records: Iterable[tuple[bytes, bytes, Headers]]
    ) -> list[asyncio.Future[Any]]:
        return [await self._begin(topic, *record) for record in records]

    async def acknowledged(self, future: asyncio.Future[Any]) -> Appended:
        """See `EventLog.acknowledged`."""
        written: Appended = await asyncio.shield(future)
        return written

    async def all_acknowledged(self, futures: Iterable[asyncio.Future[Any]]) -> None:
        """See `EventLog.all_acknowledged`."""
        try:
            await super().all_acknowledged(futures)
        except LogUnavailable:
            self.timeouts += 1
            raise

    async def flush(self) -> None:
        """See `EventLog.flush`."""
        await asyncio.gather(*(future for future, _ in self._held or ()))

    def _write(
        self, topic: str, partition: int, value: bytes | None, key: bytes | None, headers: tuple[tuple[str, bytes], ...]
    ) -> Appended:
        self._now_ms = max(self._now_ms + 1, time.time_ns() // 1_000_000)
        part = self.partitions[(topic, partition)]
        part.append(MemoryRecord(topic, partition, len(part), self._now_ms, key, value, headers))
        return Appended(topic, partition, len(part) - 1)
