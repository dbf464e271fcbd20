"""Numbers, times and lists as a sentence says them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

_ORDINALS = ("", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_ENDINGS = {1: "st", 2: "nd", 3: "rd"}


def ordinal(number: int) -> str:
    """`third`, `21st`; counts from 1."""
    if number < len(_ORDINALS):
        return _ORDINALS[number]
    ending = "th" if number % 100 in (11, 12, 13) else _ENDINGS.get(number % 10, "th")
    return f"{number}{ending}"


def duration(seconds: float) -> str:
    """A length of time in the unit that it is thought in: `0.3 s`, `40 s`, `12 min`, `5 h`, `3 days`."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s".replace(".0 s", " s")
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 47.5 * 3600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"


def moment(at: datetime, now: datetime) -> str:
    """A time of today as `09:30:05 UTC`, another one with its date."""
    text = f"{at:%H:%M:%S} UTC"
    return text if at.date() == now.date() else f"{at:%Y-%m-%d} {text}"


def listed(items: Sequence[str], most: int = 3) -> str:
    """`a`, `a and b`, `a, b and 7 more`."""
    shown = list(items[:most]) if len(items) <= most else [*items[: most - 1], f"{len(items) - most + 1} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def one_line(text: str, characters_max: int = 300) -> str:
    """A foreign text, which may have lines and no end, as a part of a sentence."""
    words = " ".join(text.split())
    return words if len(words) <= characters_max else f"{words[:characters_max]}..."


def counted(number: int, noun: str) -> str:
    """`1 slot`, `2 slots`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
