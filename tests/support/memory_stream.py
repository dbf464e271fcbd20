"""A consumer group in memory: members, generations and committed offsets, moved by hand by a test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from agents.recovery import Recovered, RecoveredFacts, epoch_of
from streams import topics
from streams.shard_stream import Ownership, ShardOwner, ShardRecord
from tests.support.memory_log import SHARDS, MemoryLog

Band = tuple[str, int]


class MemoryGroup:
    """The group's coordinator."""

    def __init__(self, log: MemoryLog, names: Sequence[str]) -> None:
        self.log, self.names = log, tuple(names)
        self.generation = 0
        self.committed: dict[Band, int] = {}
        self.assignment: dict[MemoryStream, frozenset[int]] = {}

    async def rebalance(self, assignment: dict[MemoryStream, set[int]]) -> None:
        """A new generation. Members that are left out do not hear of it: they are dead, or frozen."""
        staying = [member for member in assignment if member in self.assignment]
        for member in staying:
            await member.owner.revoked()
        self.generation += 1
        self.assignment = {member: frozenset(shards) for member, shards in assignment.items()}
        for member in self.assignment:
            member.generation = self.generation
        for member, shards in self.assignment.items():
            member.begin(shards)
            await member.owner.assigned(Ownership(self.generation, shards))
            member.deliver()

    def deliver(self) -> None:
        """Hand out whatever is new."""
        for member in self.assignment:
            member.deliver()

    async def recover(self, bands: Sequence[Band], generation: int, wanted: Callable[[], bool]) -> Recovered:
        """See `agents.recovery.Recover`: reads everything."""
        await asyncio.sleep(0)
        facts = RecoveredFacts()
        length = 0
        for (topic, _), part in list(self.log.partitions.items()):
            if topic == topics.LIFECYCLE:
                facts.add(part)
                length += len(part)
        positions = {band: self.committed.get(band, 0) for band in bands}
        ends = {band: len(self.log.partitions[band]) for band in bands}
        facts.await_records({band: end for band, end in ends.items() if positions[band] < end})
        return Recovered(facts, 0, positions, max(facts.epoch_max + 1, epoch_of(generation, length)))


class MemoryStream:
    """One member; see `ShardStream`. Refuses acknowledgements out of order."""

    def __init__(self, group: MemoryGroup) -> None:
        self._group = group
        self.owner: ShardOwner
        self.generation = -1
        self.stopped_bands: set[Band] = set()
        #: Whether its process has been awake for as long as its session lasts.
        self.awake = True
        #: It goes past records without handing them out.
        self.blind = False
        #: Bands that were ever reported full.
        self.ever_full: set[Band] = set()
        self._next: dict[Band, int] = {}
        self._acked: dict[Band, int] = {}

    async def start(self, owner: ShardOwner) -> None:
        """See `ShardStream.start`; the test assigns."""
        self.owner = owner

    async def stop(self) -> None:
        """See `ShardStream.stop`."""
        await self.owner.revoked()
        self._group.assignment.pop(self, None)

    async def ended(self) -> None:
        """See `ShardStream.ended`."""
        await asyncio.Event().wait()

    def is_current(self, generation: int) -> bool:
        """See `ShardStream.is_current`."""
        return generation == self.generation

    @property
    def member(self) -> bool:
        """See `ShardStream.member`."""
        return self in self._group.assignment

    @property
    def in_session(self) -> bool:
        """See `ShardStream.in_session`."""
        return self.awake

    def full(self, topic: str, shard: int) -> None:
        """See `ShardStream.full`."""
        self.stopped_bands.add((topic, shard))
        self.ever_full.add((topic, shard))

    def drained(self, topic: str, shard: int) -> None:
        """See `ShardStream.drained`."""
        self.stopped_bands.discard((topic, shard))
        asyncio.get_running_loop().call_soon(self.deliver)

    def ack(self, record: ShardRecord) -> None:
        """See `ShardStream.ack`."""
        band = (record.topic, record.shard)
        assert record.offset == self._acked[band], f"{record.position} is acknowledged before {self._acked[band]}"
        self._acked[band] += 1
        if record.generation == self._group.generation:
            self._group.committed[band] = self._acked[band]

    def begin(self, shards: frozenset[int]) -> None:
        """A generation begins: from the committed offsets, all bands open."""
        self.stopped_bands.clear()
        self._next = {(name, shard): 0 for name in self._group.names for shard in shards}
        self._next |= {band: self._group.committed.get(band, 0) for band in self._next}
        self._acked = dict(self._next)

    def deliver(self) -> None:
        """Hand out what there is, one record of each open band at a time."""
        while handed := [band for band in self._next if self._deliver_one(band)]:
            assert len(handed) <= len(self._group.names) * SHARDS

    def _deliver_one(self, band: Band) -> bool:
        part = self._group.log.partitions[band]
        offset = self._next[band]
        if band in self.stopped_bands or offset >= len(part):
            return False
        self._next[band] = offset + 1
        if self.blind:
            return True
        record = part[offset]
        headers = dict(record.headers)
        self.owner.received(
            ShardRecord(*band, offset, self.generation, record.timestamp, record.key, record.value, headers)
        )
        return True
