"""Puts records that cannot be read on the dead-letter topic, for as long as it takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from agents.outbox import RETRY_SECONDS
from streams.dead_letters import Origin, bury
from streams.log import EventLog, LogUnavailable
from streams.shard_stream import ShardRecord


class DeadLetters:
    """What is not acknowledged when the worker stops is handed out again, to it or its successor."""

    def __init__(self, log: EventLog) -> None:
        self._event_log = log
        self._writing: set[asyncio.Task[None]] = set()
        self._log = logging.getLogger(__name__)

    def put(self, record: ShardRecord, reason: str, then: Callable[[], None]) -> None:
        """Append a dead letter; `then` is called when the log has it."""
        self._log.warning("dead letter: %s", reason, extra={"position": record.position})
        writing = asyncio.get_running_loop().create_task(self._write(record, reason, then))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)

    async def _write(self, record: ShardRecord, reason: str, then: Callable[[], None]) -> None:
        origin = Origin(record.topic, record.shard, record.offset)
        while True:
            try:
                letter = await bury(self._event_log, record.value, record.key, record.headers.items(), origin, reason)
                await self._event_log.acknowledged(letter)
                break
            except LogUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
        then()
