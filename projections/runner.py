"""The projector role: follows the log and keeps the read models up with it."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass

import psycopg
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from psycopg import AsyncConnection
from sqlalchemy.exc import SQLAlchemyError

from projections.database import SCHEMA, connect
from projections.duty import Duty
from projections.inbox import Inbox
from projections.locks import Lock, try_acquire
from projections.migrate import migrate
from projections.projector import Projector
from projections.recorded import LogTooShort, recorded, records_behind
from projections.writer import ProjectedElsewhere
from streams.outages import until_stopped
from streams.topics import recorded_topics

logger = logging.getLogger(__name__)

BATCH_RECORDS_MAX = 4000
#: How soon the word to stop is heard while nothing comes.
TAKE_SECONDS = 0.25
#: Steady work takes no more of a core than this; a burst of a few tasks is projected without a pause.
DUTY_SHARE = 0.5
DUTY_BURST_SECONDS = 0.06
#: A reader waits no longer for what is already on the log.
REST_SECONDS_MAX = 0.05
#: Whoever waits among so many waits for the others too: longer pauses make larger batches, and more of the core is
#: left to those who work. A batch that is nearly full means that the projector lags, and nobody gains by its rest.
CROWD_RECORDS = 200
CROWD_REST_SECONDS = 0.15
BEAT_INTERVAL_SECONDS = 2.0
STANDBY_POLL_SECONDS = 1.0
STOP_GRACE_SECONDS = 3.0
RETRY_DELAY_SECONDS = 0.25
RETRY_DELAY_SECONDS_MAX = 2.0

#: What passes: PostgreSQL or Kafka is away, starting, or stopping.
OUTAGES = (psycopg.Error, SQLAlchemyError, KafkaError, OSError, TimeoutError, LogTooShort)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectorConfig:
    """What the composition root decides."""

    bootstrap_servers: str
    database_url: str
    #: Resource classes whose topics are projected; a class more needs a restart.
    classes: tuple[str, ...]
    schema: str = SCHEMA


async def run_projector(config: ProjectorConfig, stop: asyncio.Event) -> None:
    """Project until told to stop; outages of Kafka and PostgreSQL are waited for.

    Several may run: one works, the others stand by and take over when its session with PostgreSQL ends.
    """
    delay = RETRY_DELAY_SECONDS
    while not stop.is_set():
        started_at = time.monotonic()
        try:
            # A batch that is cut off is rolled back, and projected by the next one.
            await until_stopped(_work(config, stop), stop, STOP_GRACE_SECONDS)
        except OUTAGES as error:
            if time.monotonic() - started_at > RETRY_DELAY_SECONDS_MAX:
                delay = RETRY_DELAY_SECONDS
            reason = str(error).strip().partition("\n")[0]
            logger.warning("action=wait seconds=%.2f error=%s: %s", delay, type(error).__name__, reason)
            await _pause(stop, delay)
            delay = min(2 * delay, RETRY_DELAY_SECONDS_MAX)


async def _work(config: ProjectorConfig, stop: asyncio.Event) -> None:
    """One session with PostgreSQL and Kafka."""
    await migrate(config.database_url, schema=config.schema)
    async with await connect(config.database_url, schema=config.schema, autocommit=True) as connection:
        if not await _take_turn(connection, stop):
            return
        names = recorded_topics(config.classes)
        # Exchanged read models need another projector, not another session: the lock stays ours.
        while not stop.is_set():
            projector = await Projector.open(connection)
            async with recorded(config.bootstrap_servers, names, projector.offsets) as consumer:
                try:
                    await _follow(projector, consumer, stop)
                except ProjectedElsewhere as why:
                    logger.info("action=reopen reason=%s", why)


async def _take_turn(connection: AsyncConnection, stop: asyncio.Event) -> bool:
    """Stand by until no other projector works; False when told to stop before that."""
    waits = False
    while not stop.is_set():
        if await try_acquire(connection, Lock.PROJECTOR):
            logger.info("action=project")
            return True
        if not waits:
            logger.info("action=stand_by reason=another projector works")
            waits = True
        await _pause(stop, STANDBY_POLL_SECONDS)
    return False


async def _follow(projector: Projector, consumer: AIOKafkaConsumer, stop: asyncio.Event) -> None:
    inbox = Inbox(consumer, BATCH_RECORDS_MAX)
    duty = Duty(DUTY_SHARE, DUTY_BURST_SECONDS)
    reading = asyncio.create_task(inbox.read())
    try:
        beat_at = 0.0
        while not stop.is_set():
            batch = await inbox.take(TAKE_SECONDS)
            begun_at = time.monotonic()
            if batch:
                left = records_behind(consumer, projector.offsets) - sum(map(len, batch.values()))
                await projector.apply(batch, records_behind=max(0, left))
                beat_at = time.monotonic()
                rest = min(REST_SECONDS_MAX, duty.rest_seconds(begun_at, beat_at))
                await _pause(stop, max(rest, _crowd_rest(sum(map(len, batch.values())))))
            elif begun_at - beat_at >= BEAT_INTERVAL_SECONDS:
                await projector.beat(records_behind(consumer, projector.offsets))
                beat_at = begun_at
            if reading.done():
                reading.result()
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def _crowd_rest(records: int) -> float:
    return CROWD_REST_SECONDS if CROWD_RECORDS <= records < BATCH_RECORDS_MAX // 2 else 0.0


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
