"""What the broker says about groups, asked of a real one."""

import asyncio
import uuid
from contextlib import AsyncExitStack

import pytest
from aiokafka import AIOKafkaConsumer

from streams import topics
from streams.admin import ensure_topics
from streams.cluster import Cluster

pytestmark = pytest.mark.external_service

DEADLINE_SECONDS = 60


async def test_members_of_several_live_groups_are_counted(kafka: str) -> None:
    """aiokafka 0.14 misreads an answer of DescribeGroups about more than one group that has members."""
    await ensure_topics(kafka, topics.SHARED)
    suffix = uuid.uuid4().hex
    wanted = {f"pair-{suffix}": 2, f"single-{suffix}": 1, f"absent-{suffix}": 0}
    async with AsyncExitStack() as stack:
        for group, size in wanted.items():
            for _ in range(size):
                consumer = AIOKafkaConsumer(topics.INTAKE, bootstrap_servers=kafka, group_id=group)
                await stack.enter_async_context(consumer)
        async with Cluster(kafka) as cluster, asyncio.timeout(DEADLINE_SECONDS):
            # The second member of a pair joins when the first has heard of it.
            while await cluster.members(list(wanted)) != wanted:
                await asyncio.sleep(0.1)
            assert await cluster.members(list(reversed(wanted))) == wanted
