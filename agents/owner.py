"""Owns the shards of one worker: from a record handed out to its acknowledgement, across rebalances.

A task's entry lives from its record to its acknowledged terminal fact. The log may hand the record out again at any
time: after a rebalance, and as a relocated copy, the entry adopts it; a repeated submission is acknowledged and
without effect. Every fact goes through the outbox, which a rebalance stops; an entry whose shard was lost writes
nothing more, but that its attempt was handed back.

A task that was routed here may carry the epoch of an owner whose number is higher. Its facts are written under the
higher of the two: epochs of one class only grow, so whoever owns this shard next has a higher one still.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from agents.arrivals import Arrivals, submission_in
from agents.dead_letters import DeadLetters
from agents.departures import Departures, NoRouter, Router
from agents.entries import Band, Entry
from agents.frontier import AckFrontier
from agents.gaps import Gap, Gaps
from agents.handover import hand_back
from agents.outbox import Outbox, Outgoing
from agents.recovery import Recover
from agents.wait_accounts import WaitAccounts
from agents.window import Window
from agents.wishes import Wishes
from domain.decide import Fail, OwnerCommand, Release, decide
from domain.states import ACTIVE
from domain.task import evolve
from schemas.codec import UndecodableRecord
from streams.log import EventLog
from streams.shard_stream import Ownership, ShardRecord, ShardStream

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
        accounts: WaitAccounts,
        log: EventLog,
        *,
        recover: Recover,
        wake: Callable[[], None],
        arrived: Callable[[Entry], None],
        commands_from: Callable[[int], None],
        router: Router | None = None,
    ) -> None:
        #: Tells this worker's copies from others'.
        self.name = uuid.uuid4().hex
        self.entries: dict[str, Entry] = {}
        self.frontiers: dict[Band, AckFrontier] = {}
        self.epoch = 0
        self._recovery_ended = False
        self._group, self._stream, self._outbox, self._window = group, stream, outbox, window
        self._accounts, self._router = accounts, router or NoRouter()
        self.wishes = Wishes(self, window)
        self.departures = Departures(log, window, self.commit, self._let_go)
        self._facts, self._dead_letters = log, DeadLetters(log)
        self._recover, self._wake, self._arrived, self._commands_from = recover, wake, arrived, commands_from
        #: Loop time at which the last record came, or at which records could begin to come.
        self.received_at = 0.0
        self._revocations = 0
        self._positions: dict[Band, int] = {}
        self.gaps = Gaps()
        self._ownership = Ownership(-1, frozenset())
        self._arrivals = Arrivals(self, window, accounts)
        self._log = logging.getLogger(__name__)

    @property
    def settled(self) -> bool:
        """Whether this worker may start attempts: it has recovered its shards, and certainly still owns them."""
        return self._recovery_ended and self._stream.in_session

    async def revoked(self) -> None:
        """See `ShardOwner.revoked`."""
        self._recovery_ended = False
        self._revocations += 1
        self._accounts.ledger.freeze(_now_ms())
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
        dropped = [entry for entry in self.entries.values() if entry.record.shard not in kept]
        self._drop(dropped)
        self.frontiers = {
            (topic, shard): AckFrontier() for topic in self._group.topics for shard in sorted(ownership.shards)
        }
        self._arrivals.begin(ownership.shards, kept)
        self._positions.clear()
        self.gaps.clear()
        await hand_back(dropped, self.epoch, self._facts)
        recovered = await self._recover(list(self.frontiers), ownership.generation, current)
        if not current():
            return
        self._arrivals.recovered = recovered.facts
        self._positions.update(recovered.positions)
        self.received_at = asyncio.get_running_loop().time()
        self.epoch = max(recovered.epoch, self.epoch)
        self._commands_from(recovered.since_ms)
        self._outbox.thaw()
        self._accounts.ledger.thaw(_now_ms())
        self._recovery_ended = True
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
        expected = self._positions.get(band, 0)
        if record.offset < expected:
            # Handed out twice within one generation: the first one counts.
            return
        if gap := self.gaps.before(record, expected):
            self._log.info("went past %s", gap)
            frontier.received(gap.stand_in)
        frontier.received(record)
        self._positions[band] = record.offset + 1
        self.received_at = asyncio.get_running_loop().time()
        try:
            self._arrivals.take(record, submission_in(record, self._group.resource_class))
        except UndecodableRecord as error:
            self._dead_letters.put(record, str(error), lambda: self.finish(record))
        except Exception as error:
            # Nothing may escape into Faust: it would acknowledge the record, and nobody would ever hear of the task.
            self._log.exception("cannot take a record", extra={"position": record.position})
            self._dead_letters.put(record, f"{type(error).__name__}: {error}", lambda: self.finish(record))
        self._arrivals.recovered.handed_out(record)

    def commit(self, entry: Entry, command: OwnerCommand, then: Callable[[], None]) -> bool:
        """Decide under the present epoch, and write what follows; `then` is called when the log has it.

        False when nothing follows. An attempt that was started under an older epoch ends under the present one: its
        shard was kept, and facts in between may have raised the epoch already.
        """
        facts = decide(replace(command, epoch=max(self.epoch, entry.state.epoch)), entry.state)
        for fact in facts:
            entry.state = evolve(entry.state, fact)
            self._accounts.decided(entry, fact)
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
        if entry.lost or entry.unwritten or entry.leaving or self.entries.get(entry.task_id) is not entry:
            return
        if entry.state.terminal:
            self._end(entry)
        elif entry.state.status not in ACTIVE:
            self._wait(entry)

    def ended(self, entry: Entry, command: OwnerCommand) -> None:
        """An attempt has ended so. Where it failed and there is another target, the task goes there at no cost."""
        if isinstance(command, Fail):
            route = self._router.failed(entry.submission, entry.state, command)
            if route is not None:
                given_up = Release(at=command.at, reason=command.detail, error_code=command.code)
                self.commit(entry, given_up, lambda: self.settle(entry))
                if entry.state.terminal:
                    return
                self.departures.route(entry, route, int(_now_ms()))
                return
        self.commit(entry, command, lambda: self.settle(entry))

    def finish(self, record: ShardRecord) -> None:
        """The record needs no redelivery."""
        frontier = self.frontiers.get((record.topic, record.shard))
        if frontier is None or record.generation != self._ownership.generation:
            return
        for finished in frontier.finish(record.offset, asyncio.get_running_loop().time()):
            self._stream.ack(finished)

    def nothing_in(self, gap: Gap) -> None:
        """Somebody has looked into the gap, and no record was passed over there."""
        self.gaps.close(gap)
        self.finish(gap.stand_in)

    def positions(self) -> dict[Band, int]:
        """Offset of the next record of each band that is being handed out and is not full."""
        return {band: offset for band, offset in self._positions.items() if not self._window.full(band)}

    def _wait(self, entry: Entry) -> None:
        if self.wishes.cancels(entry):
            return
        if not entry.state.attempts_left:
            detail = f"all {entry.submission.attempts_max} attempts of this run are used up"
            give_up = Fail(at=datetime.now(UTC), code="attempts_exhausted", detail=detail, retryable=False)
            self.commit(entry, give_up, lambda: self.settle(entry))
            return
        self.wishes.apply_priority(entry)
        route = self._router.entering(entry.submission, entry.state)
        if route is not None:
            self.departures.route(entry, route, int(_now_ms()))
            return
        if entry.has_started:
            # It stands in line again from now on, not from the end of its attempt: the log took a moment in between.
            entry.entered_at = datetime.now(UTC)
        self._window.add(entry, asyncio.get_running_loop().time(), int(_now_ms()))
        self._arrived(entry)

    def _let_go(self, entry: Entry) -> None:
        """The entry has left: what it goes on as is in the log."""
        if entry.leaving and not entry.lost and not entry.unwritten and self.entries.get(entry.task_id) is entry:
            del self.entries[entry.task_id]
            self.finish(entry.record)
            self._arrivals.left(entry)

    def _end(self, entry: Entry) -> None:
        del self.entries[entry.task_id]
        self._window.discard(entry, int(_now_ms()))
        self.finish(entry.record)
        self._arrivals.ended(entry)

    def _drop(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            entry.lost = True
            self._window.discard(entry, int(_now_ms()))
            del self.entries[entry.task_id]
            if entry.execution is not None:
                entry.execution.cancel()


def _now_ms() -> float:
    return datetime.now(UTC).timestamp() * 1000
