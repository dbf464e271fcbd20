"""Offsets that a stream went past without handing anything out.

There may be nothing to hand out: retention takes the first records of a band away, and a transaction of a foreign
producer leaves marks in it. But two consumers that Penstock is built on have passed over real records, and an
acknowledgement behind those would lose their tasks for good. So nothing behind a gap is acknowledged before somebody
has looked into the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from streams.shard_stream import ShardRecord


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets of one topic and shard, the first and the last one included."""

    first: int
    #: Holds the place of the last one: not to be finished before it is known that nothing was passed over.
    stand_in: ShardRecord

    @property
    def last(self) -> int:
        """The offset before the record that came."""
        return self.stand_in.offset

    def __str__(self) -> str:
        return f"{self.stand_in.topic}/{self.stand_in.shard}, offsets {self.first} to {self.last}"


class Gaps:
    """Those of one worker in one generation that nobody has looked into yet."""

    def __init__(self) -> None:
        self._open: list[Gap] = []

    def __iter__(self) -> Iterator[Gap]:
        return iter(self._open)

    def before(self, record: ShardRecord, expected: int) -> Gap | None:
        """The gap, which is open from now on, where the record is not the expected one but a later one."""
        if record.offset <= expected:
            return None
        gap = Gap(expected, replace(record, offset=record.offset - 1, key=None, value=None, headers={}))
        self._open.append(gap)
        return gap

    def close(self, gap: Gap) -> None:
        """Nothing was in it."""
        self._open.remove(gap)

    def clear(self) -> None:
        """Another generation begins: all that is not acknowledged is handed out again."""
        self._open.clear()
