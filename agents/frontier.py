"""Which records may be acknowledged: those before the first unfinished one, in offset order.

Pure: one frontier for each topic, shard and group generation.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from streams.shard_stream import ShardRecord


@dataclass(slots=True)
class _Slot:
    record: ShardRecord
    #: Seconds on the caller's clock at which it was finished; None while it is not.
    finished_at: float | None = None
    released: bool = False


class AckFrontier:
    """Records of one topic and shard in one generation, from the first unacknowledged one on."""

    def __init__(self) -> None:
        self._slots: deque[_Slot] = deque()
        self._by_offset: dict[int, _Slot] = {}
        self._finished = 0
        #: Slots in the order in which they were finished; those released meanwhile are dropped from the left.
        self._trailing: deque[_Slot] = deque()

    def __len__(self) -> int:
        return len(self._slots)

    def received(self, record: ShardRecord) -> None:
        """A record was handed out; offsets come in order."""
        assert not self._slots or record.offset > self._slots[-1].record.offset, f"{record.position} is out of order"
        slot = _Slot(record)
        self._slots.append(slot)
        self._by_offset[record.offset] = slot

    def finish(self, offset: int, now: float) -> list[ShardRecord]:
        """The record needs no redelivery; what may be acknowledged because of it, in offset order.

        Finishing a record twice, or one that was never received, gives nothing.
        """
        slot = self._by_offset.get(offset)
        if slot is None or slot.finished_at is not None:
            return []
        slot.finished_at = now
        self._finished += 1
        self._trailing.append(slot)
        released: list[ShardRecord] = []
        while self._slots and self._slots[0].finished_at is not None:
            head = self._slots.popleft()
            head.released = True
            del self._by_offset[head.record.offset]
            self._finished -= 1
            released.append(head.record)
        while self._trailing and self._trailing[0].released:
            self._trailing.popleft()
        return released

    @property
    def head(self) -> ShardRecord | None:
        """The record at which the next recovery would begin to read; None where nothing is unfinished."""
        return self._slots[0].record if self._slots else None

    def stragglers(self, now: float, *, trailing_seconds_max: float, finished_max: int) -> list[ShardRecord]:
        """Unfinished records that hold back finished ones for too long, or too many of them; oldest first."""
        if not self._trailing:
            return []
        oldest = self._trailing[0].finished_at
        assert oldest is not None, "what trails is finished"
        if now - oldest < trailing_seconds_max and self._finished < finished_max:
            return []
        left = self._finished
        result = []
        for slot in self._slots:
            if left == 0:
                break
            if slot.finished_at is None:
                result.append(slot.record)
            else:
                left -= 1
        return result
