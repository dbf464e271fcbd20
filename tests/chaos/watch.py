"""Looks at the log while things break: how many tasks have ended, and whether the committed offsets advance."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from domain.states import STATE_AFTER, TERMINAL
from schemas.codec import UndecodableRecord, decode
from schemas.events import LifecycleEvent
from streams import history
from streams.topics import LIFECYCLE

SAMPLE_SECONDS = 2.0
ANSWER_SECONDS = 5.0


class Watch:
    """Follows the log from outside; an outage only makes it wait."""

    def __init__(self, bootstrap_servers: str, group: str) -> None:
        self._bootstrap_servers, self._group = bootstrap_servers, group
        #: Tasks with a fact that says they have ended. Whether it counts is the judge's business.
        self.ended: set[str] = set()
        self.committed = 0
        #: The longest time, in seconds, for which neither tasks ended nor committed offsets advanced, while the broker
        #: answered.
        self.stall_seconds = 0.0
        self._moved_at = time.monotonic()

    async def follow(self) -> None:
        """Read facts for ever."""
        async with history.reader(self._bootstrap_servers, [LIFECYCLE]) as consumer:
            await consumer.seek_to_beginning()
            while True:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        self._take(record.value)

    async def sample(self) -> None:
        """Look at the committed offsets for ever."""
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    committed = sum((await offsets(self._bootstrap_servers, self._group)).values())
            except (KafkaError, TimeoutError, OSError):
                # Nobody else gets an answer from the broker either.
                self._moved()
                continue
            if committed > self.committed:
                self.committed = committed
                self._moved()

    def begins(self) -> None:
        """There is work from now on, so something has to move."""
        self._moved_at = time.monotonic()

    def finished(self, task_ids: Collection[str]) -> bool:
        """Whether all the tasks have ended; measures the stall while they have not."""
        if self.ended.issuperset(task_ids):
            return True
        self.stall_seconds = max(self.stall_seconds, time.monotonic() - self._moved_at)
        return False

    def _take(self, value: bytes | None) -> None:
        with contextlib.suppress(UndecodableRecord):
            fact = decode(value or b"")
            if isinstance(fact, LifecycleEvent) and STATE_AFTER.get(fact.TYPE) in TERMINAL:
                self.ended.add(fact.task_id)
                self._moved()

    def _moved(self) -> None:
        now = time.monotonic()
        self.stall_seconds = max(self.stall_seconds, now - self._moved_at)
        self._moved_at = now


async def offsets(bootstrap_servers: str, group: str) -> dict[TopicPartition, int]:
    """What the group has committed."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        await admin.start()
        found = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    return {partition: each.offset for partition, each in found.items() if each.offset >= 0}


async def lag(bootstrap_servers: str, group: str, topics: Collection[str]) -> dict[str, int]:
    """Records of the topics that the group has not committed, where there are any."""
    done = await offsets(bootstrap_servers, group)
    async with history.reader(bootstrap_servers, topics) as consumer:
        ends = await _ends(consumer)
    behind = {f"{tp.topic}/{tp.partition}": end - done.get(tp, 0) for tp, end in ends.items()}
    return {name: count for name, count in behind.items() if count}


async def _ends(consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
    ends: dict[TopicPartition, int] = await consumer.end_offsets(list(consumer.assignment()))
    return ends
