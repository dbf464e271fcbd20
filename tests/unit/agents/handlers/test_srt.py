"""Subtitles of words."""

from __future__ import annotations

import pytest

from agents.engines.speech import Word
from agents.handlers.srt import cues, timestamp, write_srt


def words(*times: tuple[float, float]) -> list[Word]:
    return [
        Word(text=f"w{number}", start_seconds=start, end_seconds=end) for number, (start, end) in enumerate(times, 1)
    ]


def lengths(spoken: list[Word]) -> list[int]:
    return [len(cue) for cue in cues(spoken)]


def test_a_cue_has_at_most_eight_words() -> None:
    assert lengths(words(*((n / 10, n / 10 + 0.1) for n in range(17)))) == [8, 8, 1]


def test_a_cue_lasts_at_most_four_seconds() -> None:
    assert lengths(words((0, 1.5), (1.5, 4.0), (4.0, 4.5))) == [2, 1]


def test_a_cue_ends_at_a_pause() -> None:
    assert lengths(words((0, 0.5), (0.74, 1), (1.25, 1.5))) == [2, 1]


def test_a_word_longer_than_a_cue_stands_alone() -> None:
    assert lengths(words((0, 9), (9, 9.5))) == [1, 1]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "00:00:00,000"), (3661.5, "01:01:01,500"), (59.9996, "00:01:00,000")]
)
def test_times_are_written_to_the_millisecond(seconds: float, text: str) -> None:
    assert timestamp(seconds) == text


def test_the_file_is_numbered_cues_with_an_empty_line_after_each() -> None:
    assert write_srt(words((0.03, 0.6), (1.0, 1.25))) == (
        "1\n00:00:00,030 --> 00:00:00,600\nw1\n\n2\n00:00:01,000 --> 00:00:01,250\nw2\n\n"
    )
    assert write_srt([]) == ""
