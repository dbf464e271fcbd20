"""Follows task-commands without a group: every worker hears every command, and only the task's owner acts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from aiokafka.errors import KafkaError

from schemas.codec import UndecodableRecord, decode
from schemas.commands import TASK_COMMANDS, TaskCommand
from streams import history, topics


class CommandTail:
    """Hands each command to `on_command`; a recovery makes it read again from the moment of the fold."""

    def __init__(self, bootstrap_servers: str, on_command: Callable[[TaskCommand], None]) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._on_command = on_command
        self._since_ms: int | None = None
        self._rewound = asyncio.Event()
        self._log = logging.getLogger(__name__)

    def read_from(self, since_ms: int) -> None:
        """Read again everything since a moment (milliseconds since 1970); commands may be repeated without harm."""
        self._since_ms = since_ms
        self._rewound.set()

    async def run(self) -> None:
        """Follow for ever, once `read_from` has been called."""
        while True:
            await self._rewound.wait()
            try:
                await self._follow()
            except KafkaError as error:
                self._log.warning("cannot follow the commands, trying again: %s", error)
                self._rewound.set()
                await asyncio.sleep(1)

    async def _follow(self) -> None:
        async with history.reader(self._bootstrap_servers, [topics.COMMANDS]) as consumer:
            while True:
                if self._rewound.is_set():
                    self._rewound.clear()
                    assert self._since_ms is not None, "a rewind says to where"
                    await history.seek_to_moment(consumer, self._since_ms)
                for records in (await consumer.getmany(timeout_ms=250)).values():
                    for record in records:
                        self._read(record.value)

    def _read(self, value: bytes | None) -> None:
        try:
            command = decode(value or b"")
        except UndecodableRecord as error:
            self._log.warning("a command cannot be read: %s", error)
            return
        if isinstance(command, TASK_COMMANDS):
            self._on_command(command)
