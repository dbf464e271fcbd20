"""Where a record lies in the log, in an order that does not depend on when it was read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple


class Position(NamedTuple):
    """Positions compare by the broker's clock first, then by place."""

    #: LogAppendTime: milliseconds, UTC.
    appended_ms: int
    topic: str
    partition: int
    offset: int

    @property
    def appended_at(self) -> datetime:
        """The same moment as a datetime."""
        return datetime.fromtimestamp(self.appended_ms / 1000, UTC)

    @property
    def origin(self) -> str:
        """`topic/partition/offset`."""
        return f"{self.topic}/{self.partition}/{self.offset}"
