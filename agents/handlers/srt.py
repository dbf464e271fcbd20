"""SubRip subtitles of words with times. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agents.engines.speech import Word

#: A cue ends after so many words, or so many seconds, or before a pause so long.
CUE_WORDS_MAX = 8
CUE_SECONDS_MAX = 4.0
PAUSE_SECONDS = 0.25


def cues(words: Iterable[Word]) -> list[list[Word]]:
    """The words as they are shown together."""
    shown: list[list[Word]] = []
    for word in words:
        if shown and _belongs(word, shown[-1]):
            shown[-1].append(word)
        else:
            shown.append([word])
    return shown


def write_srt(words: Iterable[Word]) -> str:
    """The words as SubRip text: numbered cues with their times, each followed by an empty line."""
    return "".join(
        f"{number}\n{timestamp(cue[0].start_seconds)} --> {timestamp(cue[-1].end_seconds)}\n"
        f"{' '.join(word.text for word in cue)}\n\n"
        for number, cue in enumerate(cues(words), start=1)
    )


def timestamp(seconds: float) -> str:
    """Seconds as SubRip writes them: `01:02:03,456`."""
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02},{milliseconds % 1000:03}"


def _belongs(word: Word, cue: Sequence[Word]) -> bool:
    return (
        len(cue) < CUE_WORDS_MAX
        and word.end_seconds - cue[0].start_seconds <= CUE_SECONDS_MAX
        and word.start_seconds - cue[-1].end_seconds < PAUSE_SECONDS
    )
