"""Letters that could not be delivered: the record as it came, and in its headers where it lay and why it is here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from schemas.envelope import Headers
from streams import topics
from streams.log import RecordTooLarge
from streams.ports import Appends

REASON_HEADER = "penstock-reason"
TOPIC_HEADER = "penstock-origin-topic"
PARTITION_HEADER = "penstock-origin-partition"
OFFSET_HEADER = "penstock-origin-offset"
#: Set on a letter whose value would not fit with its headers; the record itself stays where it lay.
OMITTED_HEADER = "penstock-value-omitted"
REASON_CHARACTERS_MAX = 2000


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Where a record lies in the log."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


def letter_headers(original: Iterable[tuple[str, bytes | None]], origin: Origin, reason: str) -> Headers:
    """The record's own headers, then what a reader of dead letters needs."""
    kept = [(name, value if value is not None else b"") for name, value in original]
    return [
        *kept,
        (TOPIC_HEADER, origin.topic.encode()),
        (PARTITION_HEADER, str(origin.partition).encode()),
        (OFFSET_HEADER, str(origin.offset).encode()),
        (REASON_HEADER, reason[:REASON_CHARACTERS_MAX].encode(errors="replace")),
    ]


async def bury(
    log: Appends,
    value: bytes | None,
    key: bytes | None,
    original: Iterable[tuple[str, bytes | None]],
    origin: Origin,
    reason: str,
) -> asyncio.Future[Any]:
    """Begin to append a dead letter; nothing may be committed before it is acknowledged.

    Raises:
        LogUnavailable: see EventLog.append.
    """
    try:
        return await log.append(topics.DEAD_LETTERS, value, key, letter_headers(original, origin, reason))
    except RecordTooLarge:
        # A record at the broker's limit does not fit once it has our headers: the address must do.
        short = [*letter_headers((), origin, reason), (OMITTED_HEADER, b"true")]
        return await log.append(topics.DEAD_LETTERS, None, None, short)
