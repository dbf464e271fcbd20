"""Hearing what is asked of tasks, from task-commands, without a group: whoever listens hears everything."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from aiokafka import ConsumerRecord

from schemas.codec import UndecodableRecord, decode
from schemas.commands import TASK_COMMANDS, TaskCommand
from streams import history, topics

logger = logging.getLogger(__name__)

POLL_TIMEOUT_MS = 200


async def hear_commands(
    bootstrap_servers: str, tell: Callable[[TaskCommand], None], caught_up: asyncio.Event, stop: asyncio.Event
) -> None:
    """Tell of every command that the log still keeps, say so when those are told, and go on until told to stop.

    Raises:
        KafkaError: Kafka could not be reached at the start.
    """
    async with history.reader(bootstrap_servers, [topics.COMMANDS]) as consumer:
        await consumer.seek_to_beginning()
        async for records in history.read_to_end(consumer, lambda: not stop.is_set()):
            _tell(records, tell)
        caught_up.set()
        while not stop.is_set():
            for records in (await consumer.getmany(timeout_ms=POLL_TIMEOUT_MS)).values():
                _tell(records, tell)


def _tell(records: Iterable[ConsumerRecord], tell: Callable[[TaskCommand], None]) -> None:
    for record in records:
        try:
            command = decode(record.value or b"")
        except UndecodableRecord as error:
            place = f"{record.topic}/{record.partition}/{record.offset}"
            logger.warning("action=skip origin=%s: %s", place, error)
            continue
        if isinstance(command, TASK_COMMANDS):
            tell(command)
