"""Records with header names that are not UTF-8, read like all others.

A producer may name headers in any bytes, and the broker takes them. aiokafka decodes names strictly, in the middle of a
poll: one such record would end its reader, and end it again after each restart. No seek gets past it without loss,
since the broker hands out whole batches and aiokafka decodes each record of one before it looks at the offset.

What cannot be decoded is replaced by U+FFFD, as Kafka's own Java client does.
Source: Apache Kafka, "Message Format", record batch v2; aiokafka 0.14, consumer/fetcher.py and record/.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy, _DefaultRecordPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
#: Base offset and length, before that many bytes of batch.
_FRAME: Final = struct.Struct(">qi")


def tolerate_any() -> None:
    """From now on every aiokafka consumer of this process reads such records; repeating the call does no harm."""
    assert hasattr(fetcher, "MemoryRecords"), "another version of aiokafka, which makes its batches elsewhere"
    # It has no hook for this, and what decodes is compiled.
    fetcher.MemoryRecords = TolerantRecords


class TolerantRecords:
    """What a fetch brought, batch by batch, for aiokafka's fetcher."""

    def __init__(self, fetched: bytes) -> None:
        self._fetched = fetched
        self._position = 0
        self._records = MemoryRecords(fetched)

    def size_in_bytes(self) -> int:
        """See `MemoryRecords`."""
        return int(self._records.size_in_bytes())

    def has_next(self) -> bool:
        """See `MemoryRecords`."""
        return bool(self._records.has_next())

    def next_batch(self) -> Any:
        """See `MemoryRecords`."""
        batch = self._records.next_batch()
        if batch is None:
            return None
        begin = self._position
        _, length = _FRAME.unpack_from(self._fetched, begin)
        self._position = begin + _FRAME.size + length
        if not isinstance(batch, DefaultRecordBatch):
            # Older formats have no headers.
            return batch
        return TolerantBatch(batch, memoryview(self._fetched)[begin : self._position])


class TolerantBatch:
    """A batch as aiokafka reads it, fast, until it meets a name that it cannot decode."""

    def __init__(self, batch: Any, encoded: memoryview) -> None:
        self._batch, self._encoded = batch, encoded

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        """The marker in a control batch, which has no headers."""
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._batch
        except UnicodeDecodeError:
            # From its first record again: the fetcher goes by offsets, and skips what it has handed out.
            yield from _records(self._encoded)


def _records(encoded: memoryview) -> Iterator[Any]:
    batch = _DefaultRecordBatchPy(encoded)
    batch._maybe_uncompress()
    position = batch._pos
    for _ in range(batch._num_records):
        record, position = _record(batch, position)
        yield record


def _record(batch: Any, position: int) -> tuple[Any, int]:
    """The record at a position of the batch's bytes, and where the next one begins."""
    encoded = batch._buffer
    _, position = decode_varint(encoded, position)  # length
    _, position = decode_varint(encoded, position)  # attributes, of which there are none
    timestamp_delta, position = decode_varint(encoded, position)
    offset_delta, position = decode_varint(encoded, position)
    key, position = _bytes(encoded, position)
    value, position = _bytes(encoded, position)
    count, position = decode_varint(encoded, position)
    headers = []
    for _ in range(count):
        name, position = _bytes(encoded, position)
        content, position = _bytes(encoded, position)
        headers.append(((name or b"").decode(errors="replace"), content))
    by_broker = batch.timestamp_type == batch.LOG_APPEND_TIME
    timestamp = batch.max_timestamp if by_broker else batch.first_timestamp + timestamp_delta
    offset = batch.base_offset + offset_delta
    return _DefaultRecordPy(offset, timestamp, batch.timestamp_type, key, value, headers), position


def _bytes(encoded: bytearray, position: int) -> tuple[bytes | None, int]:
    length, position = decode_varint(encoded, position)
    if length < 0:
        return None, position
    return bytes(encoded[position : position + length]), position + length
