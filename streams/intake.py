"""The door for any Kafka client: records of tasks-intake become tasks, and bad ones say why they did not.

A workflow is one record too: its tasks are made here, and made again, the same ones, if that was interrupted.

A record's offset is committed only after all that follows from it is acknowledged: the task on its class topic, or the
rejection and the dead letter. A record read twice gives the same event id, so the repeat is recognised.

A full class stops nobody: its tasks are put aside as held (reason `queue_full`) in the log itself, and the held-work
service, in this process, moves them on as room appears, the oldest first. Records of other classes go straight on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from domain import holds
from domain.catalogue import Catalogue
from domain.configuration import Configuration
from domain.submission import SubmissionDefaults
from schemas.codec import encode
from schemas.events import TaskSubmitted
from streams import clients, dead_letters, dependants, header_names, held_work, intake_records, topics
from streams.admission import Admission
from streams.dead_letters import Origin
from streams.held_work import HeldWork
from streams.intake_records import Unacceptable
from streams.log import Append, Appended, LogUnavailable
from streams.ports import Appends, IntakeReadModel, ReadModelUnavailable

logger = logging.getLogger(__name__)

GROUP = "intake"
#: Whoever owns it moves held work.
LEADING = TopicPartition(topics.INTAKE, 0)
BATCH_RECORDS_MAX = 1000
POLL_TIMEOUT_MS = 200
RETRY_DELAY_SECONDS = 1.0
COMMIT_TIMEOUT_SECONDS = 5.0
#: Tasks that this process remembers to have taken in, so that quick repeats cost no look-up and make no second task.
RECENT_MAX = 100_000
#: Look-ups of known ids are tried this often; then the record is copied. Its owner recognises a repeat by the event id
#: while it remembers the task; a repeat of one that ended long ago, met by such an outage, runs again.
LOOK_UPS_MAX = 3
#: How old the view of the queues may be.
QUEUES_AGE_SECONDS_MAX = 0.25


async def _tell_of_none(_: Callable[[Iterable[str]], None]) -> None:
    """Nobody tells of ends: those who wait are found all the same, page by page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeConfig:
    """What the composition root decides."""

    bootstrap_servers: str
    catalogue: Catalogue
    #: Queries of the read model; projections have them.
    tasks: IntakeReadModel
    #: Resource classes that exist here.
    classes: Sequence[str]
    max_queue_size: int = 10_000
    #: How long an id that others wait for may be unknown.
    dependency_grace_seconds: float = dependants.GRACE_SECONDS
    defaults: SubmissionDefaults = field(default_factory=SubmissionDefaults)
    #: What the settings say; changes since are read from the registry.
    configuration: Configuration = field(default_factory=Configuration)
    #: Runs until cancelled, and tells of tasks that have ended.
    endings: Callable[[Callable[[Iterable[str]], None]], Coroutine[Any, Any, None]] = _tell_of_none


class Intake:
    """Copies batches of records; each batch is whole before its offsets are committed."""

    def __init__(self, config: IntakeConfig, log: Appends, admission: Admission, waiting: HeldWork) -> None:
        self._config = config
        self._log = log
        self._admission = admission
        self._waiting = waiting
        self._reader = intake_records.Reader(config.catalogue, config.defaults, frozenset(config.classes))
        self._recent: OrderedDict[str, None] = OrderedDict()
        self._committed: dict[TopicPartition, int] = {}
        self._queues_seen_at = -QUEUES_AGE_SECONDS_MAX
        self._consumer: AIOKafkaConsumer | None = None

    def leads(self) -> bool:
        """This one of all intake processes moves held work: the owner of the first partition."""
        return self._consumer is not None and LEADING in self._consumer.assignment()

    async def run(self, stop: asyncio.Event) -> None:
        """Read, copy, commit, until told to stop."""
        header_names.tolerate_any()
        consumer = AIOKafkaConsumer(
            topics.INTAKE,
            bootstrap_servers=self._config.bootstrap_servers,
            client_id="penstock-intake",
            group_id=GROUP,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # A foreign producer may write in transactions; what it takes back is no submission.
            isolation_level="read_committed",
            max_poll_records=BATCH_RECORDS_MAX,
            # Waiting out a long outage of the log must not look like a dead consumer.
            max_poll_interval_ms=2_000_000_000,
        )
        async with clients.running(consumer):
            self._consumer = consumer
            while not stop.is_set():
                batches = await consumer.getmany(timeout_ms=POLL_TIMEOUT_MS, max_records=BATCH_RECORDS_MAX)
                if await self._copied([record for records in batches.values() for record in records], stop):
                    await self._commit(consumer)

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        """Commit all that was passed: records, and what is none to us, such as the ends of transactions.

        Without the latter, intake would seem behind for ever, and who waits for it would wait in vain.
        """
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_SECONDS):
                passed = {partition: await consumer.position(partition) for partition in consumer.assignment()}
                news = {place: offset for place, offset in passed.items() if self._committed.get(place) != offset}
                if news:
                    await consumer.commit(news)
                    self._committed = passed
        except (KafkaError, IllegalStateError, TimeoutError) as error:
            # The partition has moved on, or the broker is away: the records come again and are recognised.
            logger.warning("intake could not commit: %s", str(error) or type(error).__name__)

    async def _copied(self, records: Sequence[ConsumerRecord], stop: asyncio.Event) -> bool:
        """Copy until the log has acknowledged all; False when told to stop before that."""
        while records:
            try:
                await self.copy(records, datetime.now(UTC))
            except LogUnavailable as error:
                logger.warning("intake waits, %d records in hand: %s", len(records), error)
            else:
                return True
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RETRY_DELAY_SECONDS)
            if stop.is_set():
                return False
        return True

    async def copy(self, records: Sequence[ConsumerRecord], at: datetime) -> None:
        """Append all that follows from a batch, and wait for the acknowledgements.

        Raises:
            LogUnavailable: some of it may not be written; copying the batch again is safe.
        """
        await self._look_at_queues()
        found: dict[str, TaskSubmitted] = {}
        appends: list[asyncio.Future[Any]] = []
        for record in records:
            try:
                tasks = self._read(record, at)
            except Unacceptable as why:
                appends += await self._reject(record, why, at)
            else:
                for task in tasks:
                    found.setdefault(task.task_id, task)
        new = await self._unknown(found)
        copies = await self._log.send_all(self._copies(new, at))
        await self._log.all_acknowledged([*appends, *copies])
        for task, future in zip(new, copies, strict=True):
            self._remember(task, future.result())

    def _read(self, record: ConsumerRecord, at: datetime) -> list[TaskSubmitted]:
        if any(header_names.REPLACEMENT in name for name, _ in record.headers):
            raise Unacceptable("undecodable_header", "the name of one of its headers is not UTF-8")
        trace = next((value for name, value in record.headers if name.lower() == "traceparent" and value), b"")
        traceparent = trace.decode("ascii", errors="replace")
        try:
            return self._reader.tasks(record.value, _origin(record), at=at, traceparent=traceparent)
        except Unacceptable:
            raise
        except Exception as error:  # whatever a stranger's bytes may set off, the records behind them must go on
            logger.exception("record %s broke its reader", _origin(record))
            raise Unacceptable("unreadable_record", f"{type(error).__name__}: {error}") from error

    async def _reject(self, record: ConsumerRecord, why: Unacceptable, at: datetime) -> list[asyncio.Future[Any]]:
        origin = _origin(record)
        logger.info("action=reject origin=%s code=%s", origin, why.code)
        fact = intake_records.rejection(record.value, origin, why, at=at)
        letter = await dead_letters.bury(self._log, record.value, record.key, record.headers, origin, str(why))
        return [await self._log.record(fact), letter]

    async def _unknown(self, found: Mapping[str, TaskSubmitted]) -> list[TaskSubmitted]:
        """Tasks that were not taken in before, as far as memory and read model know."""
        fresh = {task_id: task for task_id, task in found.items() if task_id not in self._recent}
        if not fresh:
            return []
        for attempt in range(1, LOOK_UPS_MAX + 1):
            try:
                known = await self._config.tasks.known(set(fresh))
            except ReadModelUnavailable as error:
                logger.warning("intake cannot look up ids (%d of %d): %s", attempt, LOOK_UPS_MAX, error)
                await asyncio.sleep(RETRY_DELAY_SECONDS if attempt < LOOK_UPS_MAX else 0)
            else:
                return [task for task_id, task in fresh.items() if task_id not in known]
        return list(fresh.values())

    def _copies(self, tasks: Sequence[TaskSubmitted], at: datetime) -> list[Append]:
        """Each task where it belongs now."""
        room = {name: self._waiting.room(name) for name in {task.resource_class for task in tasks}}
        copies = []
        for task in tasks:
            name = task.resource_class
            if task.depends_on:
                copy = _held(task, holds.DEPENDENCIES, task.run_at, at)
            elif task.run_at is not None and task.run_at > at:
                copy = _held(task, holds.RUN_AT, task.run_at, at)
            elif room[name] > 0:
                room[name] -= 1
                copy = Append(task, topics.band_of(name, task.priority), task.routing_key, task.traceparent)
            else:
                self._waiting.put_aside(name)
                copy = _held(task, holds.QUEUE_FULL, at, at)
            copies.append(copy)
        return copies

    def _remember(self, task: TaskSubmitted, written: Any) -> None:
        if written.topic != topics.LIFECYCLE:
            self._admission.appended(task.resource_class, Appended(written.topic, written.partition, written.offset))
        self._recent[task.task_id] = None
        while len(self._recent) > RECENT_MAX:
            self._recent.popitem(last=False)

    async def _look_at_queues(self) -> None:
        if time.monotonic() - self._queues_seen_at < QUEUES_AGE_SECONDS_MAX:
            return
        try:
            self._admission.observe(await self._config.tasks.queue())
        except ReadModelUnavailable as error:
            # What was known plus what was copied since still bounds the queues.
            logger.warning("intake cannot see the queues: %s", error)
        self._queues_seen_at = time.monotonic()


def _held(task: TaskSubmitted, reason: str, until: datetime | None, at: datetime) -> Append:
    fact = held_work.held(task, encode(task), reason, until, at)
    return Append(fact, topics.LIFECYCLE, task.task_id, task.traceparent)


def _origin(record: ConsumerRecord) -> Origin:
    return Origin(record.topic, record.partition, record.offset)
