"""A token bucket that several holders take from in blocks. Pure; levels in units, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MINUTE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Bucket:
    """What may be spent in a minute, and how much of it is there; full at first, and refilled steadily.

    What holders have taken and not spent yet counts against the capacity. So whatever is spent in any t seconds is
    at most `per_minute x (1 + t / 60)`, however many holders there are and whenever they spend it.
    """

    per_minute: float
    #: Below 0 where more was used than had been reserved.
    level: float
    #: When the level was right.
    at: float

    @classmethod
    def full(cls, per_minute: float, now: float) -> Bucket:
        """A bucket that nobody has taken from."""
        return cls(per_minute, per_minute, now)

    def refilled(self, now: float, outstanding: float, per_minute: float | None = None) -> Bucket:
        """The bucket at a later moment, where `outstanding` was taken and is not spent; and perhaps with a new rate.

        A clock that was set back refills nothing.
        """
        rate = self.per_minute if per_minute is None else per_minute
        level = self.level + max(0.0, now - self.at) * rate / MINUTE_SECONDS
        return Bucket(rate, min(level, rate - outstanding), max(now, self.at))

    def taken(self, amount: float) -> Bucket:
        """The bucket without that much; a negative amount is given back. Never above the capacity: see `refilled`."""
        return Bucket(self.per_minute, self.level - amount, self.at)

    def seconds_until(self, amount: float) -> float:
        """How long until that much is there, if nobody takes anything; 0 where it is, infinite where nothing comes."""
        if amount <= self.level:
            return 0.0
        return (amount - self.level) * MINUTE_SECONDS / self.per_minute if self.per_minute else float("inf")
