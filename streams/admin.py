"""Topics as the installation declares them, on the broker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from domain.errors import PenstockError
from streams import clients
from streams.topics import Topic


class WrongPartitions(PenstockError):
    """A topic exists with another number of partitions: keys would move, so it is not touched."""


async def ensure_topics(bootstrap_servers: str, topics: Iterable[Topic], *, replication_factor: int = 1) -> list[str]:
    """Create what is missing, leave what is there; names of the topics created.

    Raises:
        WrongPartitions: a topic has another partition count than declared.
        KafkaError: the broker refused or cannot be reached.
    """
    declared = {topic.name: topic for topic in topics}
    async with clients.running(AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)) as admin:
        existing = set(await admin.list_topics())
        missing = [topic for name, topic in declared.items() if name not in existing]
        if missing:
            await _create(admin, missing, replication_factor)
        await _check(admin, [topic for name, topic in declared.items() if name in existing])
        return [topic.name for topic in missing]


async def _create(admin: AIOKafkaAdminClient, missing: list[Topic], replication_factor: int) -> None:
    response = await admin.create_topics(
        [
            NewTopic(
                topic.name,
                num_partitions=topic.partitions,
                replication_factor=replication_factor,
                topic_configs=dict(topic.configuration()),
            )
            for topic in missing
        ]
    )
    for name, code, *_ in response.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise error(f"creating topic {name}")
    await _wait_for_leaders(admin, [topic.name for topic in missing])


async def _wait_for_leaders(admin: AIOKafkaAdminClient, names: list[str], timeout_seconds: float = 30.0) -> None:
    async with asyncio.timeout(timeout_seconds):
        while True:
            described = await admin.describe_topics(names)
            if all(
                topic["error_code"] == 0 and all(part["leader"] >= 0 for part in topic["partitions"])
                for topic in described
            ):
                return
            await asyncio.sleep(0.05)


async def _check(admin: AIOKafkaAdminClient, existing: list[Topic]) -> None:
    if not existing:
        return
    described = {topic["topic"]: topic for topic in await admin.describe_topics([topic.name for topic in existing])}
    for topic in existing:
        found = len(described[topic.name]["partitions"])
        if found != topic.partitions:
            raise WrongPartitions(
                f"topic {topic.name} has {found} partitions, the settings say {topic.partitions}; "
                "partitions of a used topic are fixed, so set the class's shards back"
            )
