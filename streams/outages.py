"""Outages of the log: work that a client of Kafka does not outlive by itself begins again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from aiokafka.errors import KafkaError

logger = logging.getLogger(__name__)

RETRY_DELAY_SECONDS = 1.0


async def through_outages(
    work: Callable[[], Coroutine[Any, Any, None]], stop: asyncio.Event, grace_seconds: float
) -> None:
    """Do the work until it is done or told to stop, from its beginning again whenever an outage of Kafka ends it.

    A client that is connected waits for its broker. One that is cut off while it connects gives up.
    """
    while not stop.is_set():
        try:
            await until_stopped(work(), stop, grace_seconds)
            return
        except* KafkaError as errors:
            logger.warning("action=begin_again seconds=%.1f error=%s", RETRY_DELAY_SECONDS, _reason(errors))
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), RETRY_DELAY_SECONDS)


async def until_stopped(work: Coroutine[Any, Any, None], stop: asyncio.Event, grace_seconds: float) -> None:
    """Let the work end by itself, but not long after the word to stop: it may wait for a server that is away."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({working}, timeout=grace_seconds)
        if working.done():
            working.result()
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.wait({working, stopping})


def _reason(errors: BaseExceptionGroup[KafkaError]) -> str:
    (first, *_) = errors.exceptions
    return _reason(first) if isinstance(first, BaseExceptionGroup) else f"{type(first).__name__}: {first}"
