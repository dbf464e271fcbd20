"""Commits of a Faust app that survive a rebalance.

Faust looks at the assignment, flushes its producer, and hands the offsets to another thread. Where the shards leave
meanwhile, it commits nothing at all (a ValueError of aiokafka) or what it does not own, and takes either for a reason
to end the whole worker.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer
from faust.types import TP

from streams.session import Session

_log = logging.getLogger(__name__)


class ShardConsumerThread(AIOKafkaConsumerThread):
    """Commits what is still owned. A commit that fails is made up for by the next one, or by a redelivery."""

    session: Session

    async def on_start(self) -> None:
        """Signs of life are noted from the first one on."""
        await super().on_start()
        self.session.watch(self._ensure_consumer()._coordinator)

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


def consumer_of(session: Session) -> type[Consumer]:
    """Faust's consumer with commits of ours, and with its signs of life noted in the session."""

    class ShardConsumer(Consumer):
        def _new_consumer_thread(self) -> ShardConsumerThread:
            thread = ShardConsumerThread(self, loop=self.loop, beacon=self.beacon)
            thread.session = session
            return thread

    return ShardConsumer
