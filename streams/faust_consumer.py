"""Faust's consumer as shards need it: it hands out what it fetched in batches, and commits what it is told.

Faust passes each record on by itself, through two tasks of its own, an event and a queue, and works out from single
acknowledgements how far it may commit; one finished record more than it should have, and work is lost. Here the
records of one topic and shard that came with one fetch are one message to Faust, with acknowledgements off, and
whoever takes them says how far they are done.

Faust has the broker wait for up to 1.5 s until there is something to fetch. aiokafka asks for a partition only when it
has handed out all that it has of it, and meanwhile for the others alone: those may be empty, and then the records that
lie ahead in the first one come that late, to a worker that has nothing left to do. While records come, our fetches wait
for a moment only.

Faust looks at the assignment, flushes its producer, and hands the offsets to another thread. Where the shards leave
meanwhile, it commits nothing at all (a ValueError of aiokafka) or what it does not own, and takes either for a reason
to end the whole worker. Ours does neither.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import faust
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer
from faust.types import TP, AppT
from faust.types.transports import SchedulingStrategyT
from faust.types.tuples import ConsumerMessage, Message

from streams.seeking import seek_to_committed
from streams.session import Session

_log = logging.getLogger(__name__)

#: How long the broker may hold back the answer to a fetch when it has nothing: while records come, and while none do.
BUSY_FETCH_MS = 100
IDLE_FETCH_MS = 1500

#: What one message to Faust is made of: records of one topic and shard, in offset order.
Batch = Sequence[ConsumerRecord]


class InBatches(SchedulingStrategyT):
    """Hands over all that one fetch brought of a topic and shard at once; Faust's own takes turns record by record."""

    def __init__(self) -> None:
        pass

    def iterate(self, records: Mapping[TP, Batch]) -> Iterator[tuple[TP, Batch]]:
        """What was fetched, by topic and shard."""
        return iter(records.items())


class AsTheyAre(faust.Schema[None, Batch]):
    """The event's value is the batch."""

    def loads_key(self, app: AppT, message: Message, **_: Any) -> None:
        """Each record has its own."""

    def loads_value(self, app: AppT, message: Message, **_: Any) -> Batch:
        """Nothing is decoded here."""
        return message.value  # type: ignore[return-value]  # our consumer put it there


class ShardConsumerThread(AIOKafkaConsumerThread):
    """Commits what is still owned. A commit that fails is made up for by the next one, or by a redelivery."""

    session: Session

    async def on_start(self) -> None:
        """Signs of life are noted from the first one on."""
        await super().on_start()
        self.session.watch(self._ensure_consumer()._coordinator)

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> Mapping[TP, list[Any]]:
        records: Mapping[TP, list[Any]] = await super()._fetch_records(
            consumer, active_partitions, timeout, max_records
        )
        consumer._fetcher._fetch_max_wait_ms = BUSY_FETCH_MS if records else IDLE_FETCH_MS
        return records

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Faust asks for it when it has dropped what a fetch brought across a rebalance."""
        committed: Mapping[TP, int] = await self.call_thread(seek_to_committed, self._ensure_consumer())
        return committed

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        assigned = self.assignment()
        owned = {
            TopicPartition(tp.topic, tp.partition): OffsetAndMetadata(offset, "")
            for tp, offset in offsets.items()
            if tp in assigned
        }
        if not owned:
            return False
        try:
            await self._ensure_consumer().commit(owned)
        except KafkaError as error:
            _log.warning("a commit failed: %s", error or type(error).__name__)
            return False
        return True


class ShardConsumer(Consumer):
    """One for each app; `session` is set on a subclass made for it."""

    session: Session

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        #: Offsets before which everything is done, by topic and shard, as far as they are not committed yet.
        self.reached: dict[TP, int] = {}
        super().__init__(*args, **kwargs)

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit what was reached. Faust calls it at intervals and when it stops, never twice at a time."""
        reached = dict(self.reached)
        if not reached or not await self._commit(reached):
            return False
        for tp, offset in reached.items():
            if self.reached.get(tp) == offset:
                del self.reached[tp]
        return True

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Nothing has been reached in this generation."""
        self.reached.clear()
        await super().on_partitions_assigned(assigned, generation_id)

    def _new_consumer_thread(self) -> ShardConsumerThread:
        thread = ShardConsumerThread(self, loop=self.loop, beacon=self.beacon)
        thread.session = self.session
        return thread

    def _to_message(self, tp: TP, record: Batch) -> ConsumerMessage:
        last = record[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            # Faust notes how far it has handed out.
            last.offset,
            last.timestamp / 1000,
            last.timestamp_type,
            None,
            None,
            record,  # type: ignore[arg-type]  # read again by AsTheyAre
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )


def consumer_of(noted: Session) -> type[ShardConsumer]:
    """A consumer whose signs of life are noted in the session."""

    class SessionConsumer(ShardConsumer):
        session = noted

    return SessionConsumer
