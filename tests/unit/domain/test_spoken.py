"""Numbers, times and lists as they are read out in a sentence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from domain.spoken import counted, duration, listed, moment, ordinal

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("number", "word"), [(1, "first"), (10, "tenth"), (11, "11th"), (21, "21st"), (112, "112th"), (1003, "1003rd")]
)
def test_ordinals(number: int, word: str) -> None:
    assert ordinal(number) == word


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0 s"),
        (0.34, "0.3 s"),
        (2.0, "2 s"),
        (40.4, "40 s"),
        (720, "12 min"),
        (18_000, "5 h"),
        (260_000, "3 days"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_moments_lists_and_counts() -> None:
    assert moment(NOW, NOW) == "09:30:00 UTC"
    assert moment(NOW - timedelta(days=1), NOW) == "2026-11-20 09:30:00 UTC"
    assert [listed(["a"]), listed(["a", "b"]), listed(list("abcdef"))] == ["a", "a and b", "a, b and 4 more"]
    assert [counted(1, "slot"), counted(2, "slot")] == ["1 slot", "2 slots"]
