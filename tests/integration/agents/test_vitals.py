import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from agents.gaps import Gap, Gaps
from agents.vitals import VitalSigns
from agents.watchdog import Patience
from streams import clients, history
from streams.shard_stream import GroupMembership, ShardRecord
from tests.support.memory_worker import until
from tests.support.shards import new_class, produce

pytestmark = pytest.mark.external_service


@dataclass
class Worker:
    """Stream, outbox and owner in one: all that the signs are taken from."""

    where: dict[tuple[str, int], int]
    member: bool = True
    received_at: float = 0.0
    stalled: float = 0.0
    excused: int = 0
    gaps: Gaps = field(default_factory=Gaps)

    def positions(self) -> dict[tuple[str, int], int]:
        return self.where

    def nothing_in(self, gap: Gap) -> None:
        self.gaps.close(gap)

    def stalled_seconds(self) -> float:
        return self.stalled

    def excuse(self) -> None:
        self.excused += 1


def signs(bootstrap_servers: str, worker: Any) -> VitalSigns:
    return VitalSigns(bootstrap_servers, worker, worker, worker, Patience())


async def test_a_worker_that_has_read_everything_is_well(kafka: str) -> None:
    group = await new_class(kafka, shards=1)
    vitals = await signs(kafka, Worker({(group.topics[0], 0): 0})).take()
    assert vitals.broker_reachable
    assert (vitals.outside_group_seconds, vitals.unacknowledged_seconds, vitals.starved_seconds) == (0, 0, 0)


async def test_records_that_lie_ahead_and_do_not_come_starve_it(kafka: str) -> None:
    """Also where not one record has come since the shards were assigned."""
    group = await new_class(kafka, shards=1)
    await produce(kafka, [(group.topics[0], 0, b"")])
    taken = signs(kafka, Worker({(group.topics[0], 0): 0}))
    await asyncio.sleep(0.01)
    assert (await taken.take()).starved_seconds > 0


def handed_out(group: GroupMembership, offset: int) -> ShardRecord:
    return ShardRecord(group.topics[0], 0, offset, 1, 0, b"", b"", {})


async def test_records_that_were_passed_over_are_found_in_the_log(kafka: str) -> None:
    group = await new_class(kafka, shards=1)
    await produce(kafka, [(group.topics[0], 0, b"") for _ in range(4)])
    worker = Worker({})
    worker.gaps.before(handed_out(group, 3), 1)
    assert (await signs(kafka, worker).take()).passed_over == f"{group.topics[0]}/0, offsets 1 to 2"


async def test_a_mark_that_a_transaction_left_in_the_log_is_no_record(kafka: str) -> None:
    group = await new_class(kafka, shards=1)
    topic = group.topics[0]
    async with AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=topic) as producer:
        for _ in range(2):
            async with producer.transaction():
                written = await producer.send_and_wait(topic, b"", partition=0)
    assert written.offset == 2
    worker = Worker({})
    worker.gaps.before(handed_out(group, 2), 1)
    assert (await signs(kafka, worker).take()).passed_over is None
    assert list(worker.gaps) == []


async def test_what_retention_took_was_not_passed_over(kafka: str) -> None:
    """Also where it took the record behind it, and nothing is left to be read."""
    group = await new_class(kafka, shards=1)
    topic = group.topics[0]
    await produce(kafka, [(topic, 0, b"") for _ in range(4)])
    async with clients.running(AIOKafkaAdminClient(bootstrap_servers=kafka)) as admin:
        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=4)})
    worker = Worker({})
    worker.gaps.before(handed_out(group, 3), 1)
    vitals = await signs(kafka, worker).take()
    assert (vitals.broker_reachable, vitals.passed_over) == (True, None)
    assert list(worker.gaps) == []


async def test_a_generation_that_begins_meanwhile_ends_the_search(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    group = await new_class(kafka, shards=1)
    await produce(kafka, [(group.topics[0], 0, b"") for _ in range(4)])
    worker = Worker({})
    worker.gaps.before(handed_out(group, 3), 1)
    look = history.any_between

    async def while_shards_move(*search: Any) -> bool:
        found = await look(*search)
        worker.gaps.clear()
        return found

    monkeypatch.setattr(history, "any_between", while_shards_move)
    assert (await signs(kafka, worker).take()).passed_over is None


async def test_a_worker_outside_its_group_is_noticed(kafka: str) -> None:
    worker = Worker({}, member=False, stalled=7.0)
    taken = signs(kafka, worker)
    await asyncio.sleep(0.01)
    vitals = await taken.take()
    assert vitals.outside_group_seconds > 0
    assert vitals.unacknowledged_seconds == 7.0
    worker.member = True
    assert (await taken.take()).outside_group_seconds == 0


async def test_a_broker_that_is_away_excuses_everything() -> None:
    worker = Worker({("tasks-cpu-low", 0): 0}, member=False, stalled=7.0)
    vitals = await signs("127.0.0.1:1", worker).take()
    assert not vitals.broker_reachable
    assert vitals.unacknowledged_seconds == 0
    await until(lambda: worker.excused == 1)
