"""What the log says about the tasks of newly owned shards, read before any of their records is handed out.

The log is the changelog: no second store. Facts are kept encoded until their task's record comes, since most of them
belong to tasks of other workers.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from aiokafka import ConsumerRecord, TopicPartition

from domain.errors import CorruptHistory
from domain.states import TaskStatus
from domain.task import TaskState, evolve
from schemas.codec import UndecodableRecord, decode
from schemas.commands import CancelTask
from schemas.envelope import EPOCH_HEADER
from schemas.events import TaskSubmitted
from streams import history, topics
from streams.shard_stream import ShardRecord

#: How far before the oldest unfinished record a recovery begins to read: covers facts that another clock or a
#: relocation put before it.
MARGIN_MS = 5 * 60 * 1000

#: Header of a relocated record: what the facts before it add up to.
STATE_HEADER = "penstock-state"

_log = logging.getLogger(__name__)


class RecoveredFacts:
    """Facts by task, for as long as records from before the recovery are still to come."""

    def __init__(self) -> None:
        self.epoch_max = 0
        self._facts: dict[str, list[bytes]] = {}
        self._awaited: dict[tuple[str, int], int] = {}

    def add(self, records: Iterable[ConsumerRecord]) -> None:
        """Remember facts of task-lifecycle, in the order of the log."""
        for record in records:
            headers = dict(record.headers)
            if epoch := headers.get(EPOCH_HEADER):
                self.epoch_max = max(self.epoch_max, int(epoch))
            if record.key is None or record.value is None:
                continue
            self._facts.setdefault(record.key.decode(errors="replace"), []).append(record.value)

    def await_records(self, ends: dict[tuple[str, int], int]) -> None:
        """Until these offsets have been handed out, facts may still be asked for."""
        self._awaited = {band: end for band, end in ends.items() if end > 0}

    def handed_out(self, record: ShardRecord) -> None:
        """Forget everything once nothing from before the recovery is still to come."""
        band = (record.topic, record.shard)
        if band in self._awaited and record.offset >= self._awaited[band] - 1:
            del self._awaited[band]
            if not self._awaited:
                self._facts.clear()

    def state(self, state: TaskState) -> TaskState:
        """The state with the task's facts added. A corrupt fact is logged and left out: audits will show it."""
        for encoded in self._facts.pop(state.task_id, ()):
            try:
                fact = decode(encoded)
                if not isinstance(fact, TaskSubmitted | CancelTask):
                    state = evolve(state, fact)
            except (CorruptHistory, UndecodableRecord) as error:
                _log.error("recovery left a fact out: %s", error, extra={"task_id": state.task_id})
        return state


async def recover(
    bootstrap_servers: str,
    group: str,
    bands: Sequence[tuple[str, int]],
    *,
    now_ms: int,
    wanted: Callable[[], bool],
) -> tuple[RecoveredFacts, int]:
    """The facts that the owner of these topics and shards must know, and the moment (ms) from which they were read.

    Incomplete when `wanted` turned false meanwhile.

    Raises:
        KafkaError: the log cannot be read; the caller must not go on.
    """
    partitions = [TopicPartition(*band) for band in bands]
    oldest = await history.lowest_uncommitted_ms(bootstrap_servers, group, partitions)
    since_ms = min(now_ms, oldest if oldest is not None else now_ms) - MARGIN_MS
    facts = RecoveredFacts()
    async with history.reader(bootstrap_servers, [topics.LIFECYCLE]) as consumer:
        await history.seek_to_moment(consumer, since_ms)
        async for records in history.read_to_end(consumer, wanted):
            facts.add(records)
        ends = await consumer.end_offsets(partitions)
        facts.await_records({(partition.topic, partition.partition): end for partition, end in ends.items()})
    return facts, since_ms


def state_header(state: TaskState) -> bytes:
    """What a relocated record says about its task, since a later recovery may begin to read at that record."""
    return json.dumps(
        {
            "status": state.status,
            "run": state.run,
            "epoch": state.epoch,
            "sequence": state.sequence,
            "attempt": state.attempt,
            "attempts_returned": state.attempts_returned,
            "attempts_lost": state.attempts_lost,
            "due_at": state.due_at.isoformat() if state.due_at else None,
            "checkpoint": state.checkpoint,
        },
        separators=(",", ":"),
    ).encode()


def state_of(record: ShardRecord, submission: TaskSubmitted) -> TaskState:
    """The state that a record alone tells: just submitted, or as its relocation header says."""
    state = evolve(TaskState(task_id=submission.task_id), submission)
    header = record.headers.get(STATE_HEADER)
    if header is None:
        return state
    values = json.loads(header)
    due_at = values.pop("due_at")
    status = TaskStatus(values.pop("status"))
    return replace(state, status=status, due_at=datetime.fromisoformat(due_at) if due_at else None, **values)
