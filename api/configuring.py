"""Changing the configuration: one record in the registry, and an answer once this process goes by it."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from api.ports import Log, Registry
from api.problems import LOG_UNAVAILABLE, OUTAGE_RETRY_SECONDS, Problem, invalid
from domain.configuration import Configuration, InvalidChange, apply
from domain.errors import Flaw
from schemas.configuration import ConfigurationEvent

logger = logging.getLogger(__name__)

#: Who is on record as having changed something by this door.
DOOR = "api"
#: The longest wait for this process's own reader.
APPLIED_SECONDS_MAX = 10.0


class Configuring:
    """Shared by all routes that read or change the configuration."""

    def __init__(self, log: Log, registry: Registry) -> None:
        self._log = log
        self._registry = registry

    async def present(self) -> Configuration:
        """What holds now.

        Raises:
            Problem: 503, this process has not read the registry yet.
        """
        try:
            async with asyncio.timeout(APPLIED_SECONDS_MAX):
                await self._registry.caught_up()
        except TimeoutError:
            raise _not_read("the configuration has not been read from the log yet") from None
        return self._registry.configuration

    async def make(self, *changes: Callable[..., ConfigurationEvent], **details: Any) -> Configuration:
        """Record changes, each given as a partial event, and wait until they hold here.

        Raises:
            Problem: 422, they cannot be applied; 503, they are recorded but do not hold here yet.
            LogUnavailable: they may be recorded or not; making them again does no harm.
        """
        now = await self.present()
        common = {"change_id": str(uuid.uuid4()), "changed_at": datetime.now(UTC), "changed_by": DOOR} | details
        events = [change(**common) for change in changes]
        try:
            for event in events:
                now = apply(now, event)
        except InvalidChange as error:
            raise invalid(Flaw("", str(error))) from error
        for event in events:
            written = await self._log.change(event)
            logger.info("configuration changed", extra={"action": event.TYPE, "subject": event.subject})
        if not await self._registry.applied(written.offset, APPLIED_SECONDS_MAX):
            raise _not_read("the change is recorded, but does not hold in this process yet")
        return self._registry.configuration


def _not_read(detail: str) -> Problem:
    return Problem(LOG_UNAVAILABLE, detail, retry_after_seconds=OUTAGE_RETRY_SECONDS)
