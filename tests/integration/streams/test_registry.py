"""The registry on a real broker: every reader comes to the same configuration, and a writer reads what it wrote."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest

from domain.configuration import Configuration
from domain.limits.limit import Limit
from domain.strategies.choice import StrategyChoice
from schemas.configuration import LimitSet, StrategySelected
from streams import topics
from streams.admin import ensure_topics
from streams.log import EventLog
from streams.registry import RegistryTail
from tests.support.registries import PATIENCE_SECONDS, following

pytestmark = pytest.mark.external_service


def limit(name: str, concurrency: int | None) -> LimitSet:
    now = datetime.now(UTC)
    return LimitSet(change_id=str(uuid.uuid4()), changed_at=now, scope="tenant", name=name, concurrency=concurrency)


def of_tenant(configuration: Configuration, name: str) -> int | None:
    found = configuration.limits.get(("tenant", name))
    return found.concurrency if found else None


async def test_whoever_comes_later_comes_to_the_same_configuration(kafka: str) -> None:
    await ensure_topics(kafka, topics.SHARED)
    name = uuid.uuid4().hex
    async with EventLog(kafka) as log:
        for concurrency in (1, None, 3):
            await log.change(limit(name, concurrency))
    async with following(RegistryTail(kafka)) as one, following(RegistryTail(kafka)) as other:
        assert one.configuration.limits["tenant", name] == Limit(concurrency=3)
        assert one.configuration == other.configuration


async def test_a_writer_reads_what_it_wrote_and_everybody_is_told(kafka: str) -> None:
    await ensure_topics(kafka, topics.SHARED)
    name = uuid.uuid4().hex
    told: list[int | None] = []
    tail = RegistryTail(kafka, lambda configuration: told.append(of_tenant(configuration, name)))
    async with following(tail), EventLog(kafka) as log:
        assert told == [None]
        for concurrency in (5, 6):
            written = await log.change(limit(name, concurrency))
            assert await tail.applied(written.offset, PATIENCE_SECONDS)
            assert of_tenant(tail.configuration, name) == concurrency
        assert told == [None, 5, 6]
        assert not await tail.applied(written.offset + 1_000_000, 0.01)


async def test_what_cannot_be_read_or_applied_is_left_out(kafka: str) -> None:
    await ensure_topics(kafka, topics.SHARED)
    name = uuid.uuid4().hex
    unknown = StrategySelected(
        change_id="c", changed_at=datetime.now(UTC), resource_class=name, strategy="of a later version"
    )
    first = Configuration(strategies={name: StrategyChoice("fifo")})
    async with EventLog(kafka) as log:
        await log.change(unknown)
        await log.acknowledged(await log.append(topics.REGISTRY, b"not Avro", b"key", []))
        await log.acknowledged(await log.append(topics.REGISTRY, None, b"key", []))
        await log.change(limit(name, 2))
    async with following(RegistryTail(kafka, first=first)) as tail:
        assert of_tenant(tail.configuration, name) == 2
        assert tail.configuration.strategy_of(name) == StrategyChoice("fifo")
