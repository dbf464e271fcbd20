"""Priorities, and the band of topics that each one is carried by."""

from __future__ import annotations

from enum import IntEnum


class Priority(IntEnum):
    """Urgency of a task; a higher number goes first."""

    LOW = 1
    NORMAL = 2
    HIGH = 3

    @property
    def band(self) -> str:
        """Name in topics and on the wire."""
        return self.name.lower()


#: Bands, most urgent first.
BANDS: tuple[str, ...] = tuple(priority.band for priority in sorted(Priority, reverse=True))


def priority_of(band: str) -> Priority:
    """The priority that a band carries; KeyError for a name that is none."""
    return Priority[band.upper()]
