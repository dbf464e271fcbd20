"""The port between the log and whoever works on it: shards are owned, records are received, acks are in order.

Shard i of a class is partition i of its three class topics. One group member owns it at a time. Two streams implement
the port and pass one conformance suite: Faust (`streams.faust_stream`), and plain aiokafka (`streams.plain_stream`),
the baseline and the way out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

#: Records of one poll. Larger polls overshoot a full band by more; smaller ones cost throughput.
POLL_RECORDS_MAX = 200


@dataclass(frozen=True, slots=True)
class GroupMembership:
    """The consumer group of one class."""

    bootstrap_servers: str
    group: str
    #: The class's topics, most urgent first.
    topics: Sequence[str]
    shards: int
    session_timeout_seconds: float = 10.0
    heartbeat_interval_seconds: float = 1.0
    commit_interval_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """One record of a class topic, as handed to the owner of its shard."""

    topic: str
    shard: int
    offset: int
    #: Group generation in which it was handed out; a later generation hands it out again until it is acknowledged.
    generation: int
    #: Milliseconds since 1970, by the broker (LogAppendTime).
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]

    @property
    def position(self) -> str:
        """`topic/partition/offset`, for people."""
        return f"{self.topic}/{self.shard}/{self.offset}"


@dataclass(frozen=True, slots=True)
class Ownership:
    """What a member owns in one generation of its group."""

    generation: int
    shards: frozenset[int]


class ShardOwner(Protocol):
    """What a stream calls. All calls come from the stream's event loop."""

    async def revoked(self) -> None:
        """Barrier: no successor can exist before this returns. Stop writing and flush, within 5 seconds."""

    async def assigned(self, ownership: Ownership) -> None:
        """Awaited before any record of the generation is handed out: the place to recover.

        May take as long as it needs, since the session stays alive; gives up early when `ShardStream.is_current` says
        that another generation has begun. An exception ends the stream.
        """

    def received(self, record: ShardRecord) -> None:
        """Take a record; never blocks. The owner says `full` when it wants no more of its topic and shard."""


class ShardStream(Protocol):
    """A member of a class's consumer group."""

    async def start(self, owner: ShardOwner) -> None:
        """Join the group."""

    async def stop(self) -> None:
        """Commit what is acknowledged and leave the group, so that successors need not wait."""

    async def ended(self) -> None:
        """Returns when the stream was stopped; raises what ended it otherwise."""

    def is_current(self, generation: int) -> bool:
        """Whether this generation is still the group's, as far as this member knows."""

    @property
    def member(self) -> bool:
        """Whether the group counts this process as a member at present."""

    @property
    def in_session(self) -> bool:
        """Whether this process's own clock rules out that the group has given its shards away.

        False for one that stood still for as long as a session lasts, before it hears of it from the broker.
        """

    def full(self, topic: str, shard: int) -> None:
        """Hand out no more of this topic and shard; what is already fetched may still come."""

    def drained(self, topic: str, shard: int) -> None:
        """Undo `full`."""

    def ack(self, record: ShardRecord) -> None:
        """The record needs no redelivery. Called strictly in offset order for each topic and shard."""
