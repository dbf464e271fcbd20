"""Reads results as they come: a client that follows task-lifecycle, as docs/events.md tells any reader to."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer

from schemas.codec import decode
from schemas.events import TaskCompleted
from streams.history import partitions_of
from streams.topics import LIFECYCLE


class Results:
    """Results of tasks that end from now on."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, group_id=None, max_poll_records=5000)

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        self._consumer.assign(await partitions_of(self._consumer, [LIFECYCLE]))
        await self._consumer.seek_to_end()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.stop()

    async def read(self, task_ids: set[str]) -> None:
        """Returns when the results of all of these tasks were read."""
        missing = set(task_ids)
        completed = TaskCompleted.TYPE.encode()
        while missing:
            for records in (await self._consumer.getmany(timeout_ms=1000)).values():
                for record in records:
                    # The header says what it is, so that only results need decoding.
                    if dict(record.headers)["ce_type"] != completed:
                        continue
                    fact = decode(record.value)
                    assert isinstance(fact, TaskCompleted), "its header says so"
                    missing.discard(fact.task_id)
