"""Owns the shards of one worker: from a record handed out to its acknowledgement, across rebalances.

A task's entry lives from its record to its acknowledged terminal fact. The log may hand the record out again at any
time: after a rebalance, and as a relocated copy, the entry adopts it; a repeated submission is acknowledged and
without effect. Every fact goes through the outbox, which a rebalance stops; an entry whose shard was lost writes
nothing more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from agents.dead_letters import DeadLetters
from agents.frontier import AckFrontier
from agents.outbox import Outbox, Outgoing
from agents.recovery import Recover, RecoveredFacts
from agents.remembered import Remembered
from agents.window import Band, Entry, Stop, Window
from domain.decide import Cancel, Lose, OwnerCommand, decide
from domain.states import ACTIVE, TaskStatus
from domain.task import evolve
from schemas.codec import UndecodableRecord, decode
from schemas.events import TaskSubmitted
from streams.log import EventLog
from streams.shard_stream import Ownership, ShardRecord, ShardStream
from streams.state_header import STATE_HEADER, state_said

#: Limit of the barrier: a successor waits for it.
REVOKE_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True)
class ClassGroup:
    """The group of one class, as its members see it."""

    resource_class: str
    #: The class's topics, most urgent first.
    topics: tuple[str, ...]


class Owner:
    """See `streams.shard_stream.ShardOwner`."""

    def __init__(
        self,
        group: ClassGroup,
        stream: ShardStream,
        outbox: Outbox,
        window: Window,
        log: EventLog,
        *,
        recover: Recover,
        wake: Callable[[], None],
        commands_from: Callable[[int], None],
    ) -> None:
        self.entries: dict[str, Entry] = {}
        self.frontiers: dict[Band, AckFrontier] = {}
        self.epoch = 0
        #: Whether this worker may start attempts: it owns its shards and has recovered them.
        self.settled = False
        self._group, self._stream, self._outbox, self._window = group, stream, outbox, window
        self._dead_letters = DeadLetters(log)
        self._recover, self._wake, self._commands_from = recover, wake, commands_from
        #: Loop time at which the last record came, or at which records could begin to come.
        self.received_at = 0.0
        self._revocations = 0
        self._positions: dict[Band, int] = {}
        self._ownership = Ownership(-1, frozenset())
        self._recovered = RecoveredFacts()
        self._finished: dict[int, Remembered] = {}
        self._cancels = Remembered()
        self._next_runs: dict[str, tuple[ShardRecord, TaskSubmitted]] = {}
        self._log = logging.getLogger(__name__)

    async def revoked(self) -> None:
        """See `ShardOwner.revoked`."""
        self.settled = False
        self._revocations += 1
        await self._outbox.freeze(REVOKE_SECONDS_MAX)

    async def assigned(self, ownership: Ownership) -> None:
        """See `ShardOwner.assigned`. Shards kept from the very last generation go on as they were."""
        revocations = self._revocations

        def current() -> bool:
            # The stream learns of the next generation only after the barrier; nothing may thaw behind it.
            return self._revocations == revocations and self._stream.is_current(ownership.generation)

        consecutive = ownership.generation == self._ownership.generation + 1
        kept = self._ownership.shards & ownership.shards if consecutive else frozenset()
        self._ownership = ownership
        self._drop(entry for entry in list(self.entries.values()) if entry.record.shard not in kept)
        self.frontiers = {
            (topic, shard): AckFrontier() for topic in self._group.topics for shard in sorted(ownership.shards)
        }
        # What was finished while another owned the shard, unknown to us, has not ended: the log says what did.
        self._finished = {shard: self._finished[shard] if shard in kept else Remembered() for shard in ownership.shards}
        self._next_runs.clear()
        self._positions.clear()
        recovered = await self._recover(list(self.frontiers), ownership.generation, current)
        if not current():
            return
        self._recovered = recovered.facts
        self._positions.update(recovered.positions)
        self.received_at = asyncio.get_running_loop().time()
        self.epoch = max(recovered.epoch, self.epoch)
        self._commands_from(recovered.since_ms)
        self._outbox.thaw()
        self.settled = True
        self._wake()
        self._log.info(
            "owns shards %s of class %s, epoch %d", sorted(ownership.shards), self._group.resource_class, self.epoch
        )

    def received(self, record: ShardRecord) -> None:
        """See `ShardOwner.received`. Whatever is wrong with a record, it becomes a dead letter and blocks nothing."""
        band = (record.topic, record.shard)
        frontier = self.frontiers.get(band)
        if frontier is None or record.generation != self._ownership.generation:
            return
        if record.offset < self._positions.get(band, 0):
            # Handed out twice within one generation: the first one counts.
            return
        frontier.received(record)
        self._positions[band] = record.offset + 1
        self.received_at = asyncio.get_running_loop().time()
        try:
            submission = self._submission(record)
            self._take(record, submission)
        except UndecodableRecord as error:
            self._dead_letters.put(record, str(error), lambda: self.finish(record))
        except Exception as error:
            # Nothing may escape into Faust: it would acknowledge the record, and nobody would ever hear of the task.
            self._log.exception("cannot take a record", extra={"position": record.position})
            self._dead_letters.put(record, f"{type(error).__name__}: {error}", lambda: self.finish(record))
        self._recovered.handed_out(record)

    def commit(self, entry: Entry, command: OwnerCommand, then: Callable[[], None]) -> bool:
        """Decide under the present epoch, and write what follows; `then` is called when the log has it.

        False when nothing follows. An attempt that was started under an older epoch ends under the present one: its
        shard was kept, and facts in between may have raised the epoch already.
        """
        facts = decide(replace(command, epoch=self.epoch), entry.state)
        for fact in facts:
            entry.state = evolve(entry.state, fact)
        if facts:
            entry.unwritten += 1

            def written() -> None:
                entry.unwritten -= 1
                then()

            traceparent = entry.submission.traceparent
            self._outbox.put(Outgoing(facts, written, wanted=lambda: not entry.lost, traceparent=traceparent))
        return bool(facts)

    def settle(self, entry: Entry) -> None:
        """Let the entry wait, or end it, as its state says; left to a later call while the log lacks that state."""
        if entry.lost or entry.unwritten or self.entries.get(entry.task_id) is not entry:
            return
        if entry.state.terminal:
            self._end(entry)
        elif entry.state.status not in ACTIVE:
            self._window.add(entry, asyncio.get_running_loop().time())
            if self._cancels.run(entry.task_id) == entry.state.run:
                self.cancel(entry.task_id, entry.state.run, "requested")
            self._wake()

    def cancel(self, task_id: str, run: int, reason: str) -> None:
        """Stop the task if it is here; remember the wish if it is not here yet."""
        entry = self.entries.get(task_id)
        if entry is None or run > entry.state.run:
            self._cancels.add(task_id, run)
        elif run == entry.state.run and self.commit(
            entry, Cancel(at=datetime.now(UTC), reason=reason), lambda: self.settle(entry)
        ):
            self._window.discard(entry)
            if entry.state.status is TaskStatus.CANCELLING:
                entry.stop = Stop.CANCEL
                if entry.execution is not None:
                    entry.execution.cancel()

    def finish(self, record: ShardRecord) -> None:
        """The record needs no redelivery."""
        frontier = self.frontiers.get((record.topic, record.shard))
        if frontier is None or record.generation != self._ownership.generation:
            return
        for finished in frontier.finish(record.offset, asyncio.get_running_loop().time()):
            self._stream.ack(finished)

    def positions(self) -> dict[Band, int]:
        """Offset of the next record of each band that is being handed out and is not full."""
        return {band: offset for band, offset in self._positions.items() if not self._window.full(band)}

    def _submission(self, record: ShardRecord) -> TaskSubmitted:
        if record.value is None:
            raise UndecodableRecord("the record has no value")
        message = decode(record.value)
        if not isinstance(message, TaskSubmitted):
            raise UndecodableRecord(f"a {message.TYPE} does not belong on {record.topic}")
        if message.resource_class != self._group.resource_class:
            raise UndecodableRecord(f"work of class {message.resource_class!r} does not belong on {record.topic}")
        return message

    def _take(self, record: ShardRecord, submission: TaskSubmitted) -> None:
        task_id = submission.task_id
        entry = self.entries.get(task_id)
        if entry is not None:
            self._adopt(entry, record, submission)
            return
        if self._finished[record.shard].run(task_id) >= submission.run:
            self.finish(record)
            return
        state = self._recovered.state(state_said(record.headers, submission))
        if state.terminal or state.run > submission.run:
            # A later run may still be at work: only this one is known to have ended.
            self._finished[record.shard].add(task_id, submission.run)
            self.finish(record)
            return
        entry = self.entries[task_id] = Entry(submission=submission, state=state, record=record)
        if state.status in ACTIVE:
            self.commit(entry, Lose(at=datetime.now(UTC)), lambda: self.settle(entry))
        else:
            self.settle(entry)

    def _adopt(self, entry: Entry, record: ShardRecord, submission: TaskSubmitted) -> None:
        """Another record of a task that is here already."""
        if submission.run > entry.state.run:
            # A retry by hand, read before the end of the run before it was acknowledged to us.
            if entry.task_id in self._next_runs:
                self.finish(record)
            else:
                self._next_runs[entry.task_id] = (record, submission)
        elif record.position == entry.record.position:
            self._window.moved(entry, record)
        elif submission.run == entry.state.run and STATE_HEADER in record.headers:
            old = entry.record
            self._window.moved(entry, record)
            self.finish(old)
        else:
            # A run that has ended, or a repeated submission. The older record stays: a recovery that began at the
            # repeat, which says nothing of the task's state, would not read what happened before it.
            self.finish(record)

    def _end(self, entry: Entry) -> None:
        del self.entries[entry.task_id]
        self._window.discard(entry)
        self._finished[entry.record.shard].add(entry.task_id, entry.state.run)
        self.finish(entry.record)
        if next_run := self._next_runs.pop(entry.task_id, None):
            self._take(*next_run)

    def _drop(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            entry.lost = True
            self._window.discard(entry)
            self._window.ended(entry)
            del self.entries[entry.task_id]
            if entry.execution is not None:
                entry.execution.cancel()
