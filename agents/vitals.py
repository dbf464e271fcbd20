"""Takes a worker's vital signs from time to time, and ends the worker when the watchdog says so."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from agents.outbox import Outbox
from agents.owner import Owner
from agents.watchdog import Patience, Vitals, verdict
from domain.errors import PenstockError
from streams import history
from streams.shard_stream import ShardStream

CHECK_SECONDS = 10.0


class WorkerStuck(PenstockError):
    """The worker makes no progress although the broker answers; its process must be replaced."""


class VitalSigns:
    """See `agents.watchdog` for the judgement."""

    def __init__(
        self, bootstrap_servers: str, stream: ShardStream, outbox: Outbox, owner: Owner, patience: Patience
    ) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._stream, self._outbox, self._owner, self._patience = stream, outbox, owner, patience
        now = asyncio.get_running_loop().time()
        self._member_at = self._fed_at = now

    async def run(self) -> None:
        """Check for ever.

        Raises:
            WorkerStuck: the watchdog has lost its patience.
        """
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            if reason := verdict(await self.take(), self._patience):
                raise WorkerStuck(reason)

    async def take(self) -> Vitals:
        """The signs as they are now."""
        now = asyncio.get_running_loop().time()
        if self._stream.member:
            self._member_at = now
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                hungry = await self._records_lie_ahead()
                passed_over = await self._passed_over()
        except (KafkaError, TimeoutError):
            self._member_at = self._fed_at = now
            self._outbox.excuse()
            return Vitals(broker_reachable=False, outside_group_seconds=0, unacknowledged_seconds=0, starved_seconds=0)
        if not hungry:
            self._fed_at = now
        return Vitals(
            broker_reachable=True,
            outside_group_seconds=now - self._member_at,
            unacknowledged_seconds=self._outbox.stalled_seconds(),
            starved_seconds=now - max(self._fed_at, self._owner.received_at),
            passed_over=passed_over,
        )

    async def _records_lie_ahead(self) -> bool:
        wanted = {TopicPartition(*band): offset for band, offset in self._owner.positions().items()}
        if not wanted:
            return False
        async with history.reader(self._bootstrap_servers, []) as consumer:
            ends = await _ends(consumer, list(wanted))
        return any(ends[partition] > offset for partition, offset in wanted.items())

    async def _passed_over(self) -> str | None:
        gaps = list(self._owner.gaps)
        if not gaps:
            return None
        async with history.reader(self._bootstrap_servers, []) as consumer:
            for gap in gaps:
                partition = TopicPartition(gap.stand_in.topic, gap.stand_in.shard)
                passed_over = await history.any_between(consumer, partition, gap.first, gap.last)
                if gap not in self._owner.gaps:
                    # Another generation has begun meanwhile: all of it is handed out again.
                    continue
                if passed_over:
                    return str(gap)
                self._owner.nothing_in(gap)
        return None


async def _ends(consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
    consumer.assign(partitions)
    ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    return ends
