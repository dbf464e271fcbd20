"""The configuration of a running system, as the topic `registry` has it: every process folds the same changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError

from domain.configuration import Configuration, InvalidChange, apply
from schemas.codec import UndecodableRecord, decode_change
from streams import history, topics

#: After an outage, the log is asked again so soon.
RECONNECT_SECONDS = 1.0
POLL_MS = 1000

_log = logging.getLogger(__name__)


class RegistryTail:
    """Reads the topic from its start, without a group, and follows it for ever.

    `on_change` is called on the event loop with the configuration once all that the log held has been applied, and
    after each change since; it must not block. What cannot be applied is logged and left out, by every process alike.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        on_change: Callable[[Configuration], None] = lambda _: None,
        first: Configuration | None = None,
    ) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._on_change = on_change
        #: What holds now; complete once `caught_up` has returned.
        self.configuration = first or Configuration()
        #: The next record to be applied.
        self._position = 0
        self._caught_up = asyncio.Event()
        self._moved = asyncio.Condition()

    async def caught_up(self) -> None:
        """Wait until everything has been applied that the log held when the tail began; `run` must run."""
        await self._caught_up.wait()

    async def applied(self, offset: int, timeout_seconds: float) -> bool:
        """Wait until the record at an offset has been applied: its writer then reads what it wrote. False: not yet."""
        try:
            async with asyncio.timeout(timeout_seconds), self._moved:
                await self._moved.wait_for(lambda: self._position > offset)
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Follow until cancelled; outages of the broker are waited for."""
        while True:
            try:
                await self._follow()
            except KafkaError as error:
                _log.warning("cannot follow the registry, trying again: %s", error)
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _follow(self) -> None:
        async with history.reader(self._bootstrap_servers, [topics.REGISTRY]) as consumer:
            (place,) = consumer.assignment()
            consumer.seek(place, self._position)
            end = (await consumer.end_offsets([place]))[place]
            while True:
                if not self._caught_up.is_set() and await consumer.position(place) >= end:
                    self._caught_up.set()
                    self._on_change(self.configuration)
                await self._take(await _next(consumer))

    async def _take(self, records: Iterable[ConsumerRecord]) -> None:
        before = self.configuration
        for record in records:
            self.configuration = _changed(self.configuration, record)
            self._position = record.offset + 1
        if self._caught_up.is_set() and self.configuration is not before:
            self._on_change(self.configuration)
        async with self._moved:
            self._moved.notify_all()


async def _next(consumer: AIOKafkaConsumer) -> list[ConsumerRecord]:
    batches = await consumer.getmany(timeout_ms=POLL_MS)
    return [record for records in batches.values() for record in records]


def _changed(configuration: Configuration, record: ConsumerRecord) -> Configuration:
    try:
        return apply(configuration, decode_change(record.value or b""))
    except (InvalidChange, UndecodableRecord) as error:
        _log.error("a change of the configuration is left out: %s", error, extra={"offset": record.offset})
        return configuration
