"""How much of each band waits in memory: at its bound a band is reported full, so that the log keeps the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from agents.entries import Band, Entry

#: A band takes records again when it has drained to this share of its bound.
DRAINED_SHARE = 0.5
#: Records of one band and shard held in memory, in bytes: large tasks reach it before the number of tasks bounds them.
BAND_BYTES_MAX = 32 * 1024 * 1024


class BandBounds:
    """Counts the waiting entries of each band and shard, in tasks and in bytes."""

    def __init__(
        self,
        size: int,
        *,
        on_full: Callable[[str, int], None],
        on_drained: Callable[[str, int], None],
        bytes_max: int = BAND_BYTES_MAX,
    ) -> None:
        self._size, self._bytes_max = size, bytes_max
        self._on_full, self._on_drained = on_full, on_drained
        self._counts: Counter[Band] = Counter()
        self._bytes: Counter[Band] = Counter()
        self._full: set[Band] = set()
        #: Milliseconds since 1970 at which a band was last full.
        self._full_until_ms: dict[Band, float] = {}

    def count(self, entry: Entry, now_ms: float) -> None:
        """The entry waits."""
        band, size = entry.counted = (entry.band, len(entry.record.value or b""))
        self._counts[band] += 1
        self._bytes[band] += size
        if self._counts[band] >= self._size or self._bytes[band] >= self._bytes_max:
            # Said again for each record beyond the bound: a rebalance makes the stream forget it.
            self._full.add(band)
            self._full_until_ms[band] = now_ms
            self._on_full(*band)

    def uncount(self, entry: Entry, now_ms: float) -> None:
        """The entry waits no more."""
        counted, entry.counted = entry.counted, None
        if counted is None:
            return
        band, size = counted
        self._counts[band] -= 1
        self._bytes[band] -= size
        if band in self._full:
            self._full_until_ms[band] = now_ms
            if self._has_drained(band):
                self._full.discard(band)
                self._on_drained(*band)

    def full(self, band: Band) -> bool:
        """Whether the band is at its bound."""
        return band in self._full

    def was_full_since(self, band: Band, since_ms: float) -> bool:
        """Whether the band was at its bound at that moment or later, so that its records had to wait in the log."""
        return band in self._full or self._full_until_ms.get(band, 0.0) >= since_ms

    def _has_drained(self, band: Band) -> bool:
        return self._counts[band] <= self._size * DRAINED_SHARE and self._bytes[band] <= self._bytes_max * DRAINED_SHARE
