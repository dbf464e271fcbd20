"""What the broker says about ends of the log, positions of groups and their members: for doors and health checks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Self, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams import clients, history
from streams.log import LogUnavailable

T = TypeVar("T")

#: The next offset of each topic and partition.
Offsets = Mapping[tuple[str, int], int]

#: How many members a group has; an absent group has none. Source: Apache Kafka, DescribeGroups.
_NO_MEMBERS = frozenset({"Empty", "Dead"})


class Cluster:
    """Questions to the broker, each bounded in time; asks again by itself after an outage."""

    def __init__(self, bootstrap_servers: str, *, timeout_seconds: float = 3.0) -> None:
        self._timeout_seconds = timeout_seconds
        request_timeout_ms = int(timeout_seconds * 1000)
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers, group_id=None, request_timeout_ms=request_timeout_ms
        )
        self._admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=request_timeout_ms)
        self._partitions: dict[str, list[TopicPartition]] = {}

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            LogUnavailable: no broker answers.
        """
        try:
            await self._connect()
        except KafkaError as error:
            raise LogUnavailable(f"the broker cannot be reached: {error}") from error
        return self

    async def _connect(self) -> None:
        await clients.start(self._consumer)
        try:
            await clients.start(self._admin)
        except BaseException:
            await clients.stop(self._consumer)
            raise

    async def __aexit__(self, *_: object) -> None:
        await clients.stop(self._consumer, self._timeout_seconds)
        await clients.stop(self._admin, self._timeout_seconds)

    async def ends(self, topics: Iterable[str]) -> Offsets:
        """The next offset to be written in every partition of the topics.

        Raises:
            LogUnavailable: the broker did not answer in time.
        """
        wanted = list(topics)
        found: Offsets = await self._asked(lambda: self._ends(wanted), "where the log ends")
        return found

    async def committed(self, group: str) -> Offsets:
        """The next offset that each partition's reader in the group has to handle.

        Raises:
            LogUnavailable: the broker did not answer in time.
        """
        found = await self._asked(lambda: self._admin.list_consumer_group_offsets(group), f"group {group}")
        return {(place.topic, place.partition): kept.offset for place, kept in found.items() if kept.offset >= 0}

    async def members(self, groups: Sequence[str]) -> Mapping[str, int]:
        """How many members each group has now; none where the group does not exist.

        Raises:
            LogUnavailable: the broker did not answer in time.
        """
        counts = dict.fromkeys(groups, 0)
        # One group a request: aiokafka 0.14 reads an answer of version 3 by the schema of version 2, which lacks the
        # field that ends each group, so that it loses its place from the second group on.
        for group in groups:
            responses = await self._asked(partial(self._admin.describe_consumer_groups, [group]), "groups")
            for response in responses:
                for _error, name, state, _protocol_type, _protocol, members, *_ in response.groups:
                    counts[name] = 0 if state in _NO_MEMBERS else len(members)
        return counts

    async def lag(self, group: str, topics: Iterable[str]) -> int:
        """Records of the topics that the group has not acknowledged.

        Raises:
            LogUnavailable: the broker did not answer in time.
        """
        ends, committed = await asyncio.gather(self.ends(topics), self.committed(group))
        return sum(max(0, end - committed.get(place, 0)) for place, end in ends.items())

    async def _ends(self, topics: Sequence[str]) -> Offsets:
        missing = [topic for topic in topics if not self._partitions.get(topic)]
        for place in await history.partitions_of(self._consumer, missing):
            self._partitions.setdefault(place.topic, []).append(place)
        found = await self._consumer.end_offsets([place for topic in topics for place in self._partitions[topic]])
        return {(place.topic, place.partition): end for place, end in found.items()}

    async def _asked(self, call: Callable[[], Awaitable[Any]], what: str) -> Any:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await call()
        except (KafkaError, TimeoutError, OSError) as error:
            raise LogUnavailable(f"the broker did not say {what}: {error or type(error).__name__}") from error
