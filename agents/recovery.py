"""What the log says about the tasks of newly owned shards, read before any of their records is handed out.

The log is the changelog: no second store. Facts are kept encoded until their task's record comes, since most of them
belong to tasks of other workers.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from aiokafka import ConsumerRecord, TopicPartition

from domain.errors import CorruptHistory
from domain.task import TaskState, evolve
from schemas.codec import UndecodableRecord, decode
from schemas.envelope import EPOCH_HEADER
from schemas.events import LifecycleEvent
from streams import history, topics
from streams.shard_stream import ShardRecord

#: How far before the oldest unfinished record a recovery begins to read: covers facts that another clock or a
#: relocation put before it.
MARGIN_MS = 5 * 60 * 1000

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
            epoch = dict(record.headers).get(EPOCH_HEADER) or b""
            if epoch.isdigit():
                self.epoch_max = max(self.epoch_max, int(epoch))
            if record.key is None or record.value is None:
                continue
            self._facts.setdefault(record.key.decode(errors="replace"), []).append(record.value)

    def await_records(self, ends: Mapping[tuple[str, int], int]) -> None:
        """Until the records before these offsets have been handed out, facts may still be asked for."""
        self._awaited = dict(ends)
        if not self._awaited:
            self._facts.clear()

    def awaits(self, record: ShardRecord) -> bool:
        """Whether the record was in the log before the recovery, and has not been handed out since."""
        return record.offset < self._awaited.get((record.topic, record.shard), 0)

    def handed_out(self, record: ShardRecord) -> None:
        """Forget everything once nothing from before the recovery is still to come."""
        band = (record.topic, record.shard)
        if band in self._awaited and record.offset >= self._awaited[band] - 1:
            del self._awaited[band]
            if not self._awaited:
                self._facts.clear()

    def state(self, state: TaskState) -> TaskState:
        """The state with the task's facts added. A corrupt fact is logged and left out: audits will show it.

        Facts stay for the task's other records: a retry by hand lies behind the record of the run before it.
        """
        for encoded in self._facts.get(state.task_id, ()):
            try:
                fact = decode(encoded)
                if isinstance(fact, LifecycleEvent):
                    state = evolve(state, fact)
            except (CorruptHistory, UndecodableRecord) as error:
                _log.error("recovery left a fact out: %s", error, extra={"task_id": state.task_id})
        return state


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the owner of some topics and shards must know before it works on them."""

    facts: RecoveredFacts
    #: The moment (milliseconds since 1970) from which the log was read.
    since_ms: int
    #: Offset of the first record that will be handed out, for each topic and shard.
    positions: Mapping[tuple[str, int], int]
    #: Higher than the epoch of every owner that these shards had before.
    epoch: int


@dataclass(frozen=True, slots=True)
class LogRecovery:
    """Recovers from the log alone; see `Recover`."""

    bootstrap_servers: str
    group: str

    async def __call__(
        self, bands: Sequence[tuple[str, int]], generation: int, wanted: Callable[[], bool]
    ) -> Recovered:
        """See `Recover`. Incomplete when `wanted` turned false meanwhile.

        Raises:
            KafkaError: the log cannot be read; the caller must not go on.
        """
        partitions = [TopicPartition(*band) for band in bands]
        backlog = await history.backlog(self.bootstrap_servers, self.group, partitions)
        now_ms = int(datetime.now(UTC).timestamp() * 1000)
        since_ms = min(now_ms, backlog.oldest_ms if backlog.oldest_ms is not None else now_ms) - MARGIN_MS
        facts = RecoveredFacts()
        async with history.reader(self.bootstrap_servers, [topics.LIFECYCLE]) as consumer:
            length = sum((await consumer.end_offsets(list(consumer.assignment()))).values())
            await history.seek_to_moment(consumer, since_ms)
            async for records in history.read_to_end(consumer, wanted):
                facts.add(records)
        facts.await_records({tuple(p): end for p, end in backlog.ends.items() if backlog.positions[p] < end})
        positions = {(p.topic, p.partition): position for p, position in backlog.positions.items()}
        return Recovered(facts, since_ms, positions, max(facts.epoch_max + 1, epoch_of(generation, length)))


#: Topics and shards, group generation, and whether it is still worth while.
Recover = Callable[[Sequence[tuple[str, int]], int, Callable[[], bool]], Awaitable[Recovered]]


def epoch_of(generation: int, lifecycle_length: int) -> int:
    """Higher for every later generation of a group, whatever a recovery happened to read.

    The highest epoch among the facts read is not enough: an idle owner may have written none since the moment from
    which its successor reads, and its late facts would then outrank the successor's. The generation alone is not
    either: it begins again when the group is deleted. The length of task-lifecycle never shrinks.
    """
    return generation + lifecycle_length
