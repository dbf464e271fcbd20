"""From a file to words: runs as one call in an engine process, with progress."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agents.engines.media import open_soundtrack
from agents.engines.reporting import report
from agents.engines.speech import BYTES_PER_SAMPLE, SAMPLE_RATE, Word, recogniser_for
from domain.errors import TaskError

#: Sound between two reports, in seconds: about a tenth as long in time, as recognisers go.
REPORT_SECONDS = 2.0
#: What is left for writing the result.
PERCENT_HEARD = 99.0


def transcribe(path: Path, language: str, seconds_max: float) -> tuple[list[Word], float]:
    """The words heard in a file's first audio stream, and its length in seconds.

    Raises:
        TaskError: `language_unsupported`, `invalid_media`, `media_too_long`, `engine_unavailable`.
    """
    recogniser = recogniser_for(language)
    with open_soundtrack(path) as soundtrack:
        meter = _Meter(soundtrack.duration_seconds, seconds_max)
        words = recogniser.hear(meter.measured(soundtrack.pieces()))
    return words, meter.heard_seconds


class _Meter:
    """Counts the sound as it passes: a file's own word on its length is not to be relied on."""

    def __init__(self, expected_seconds: float, seconds_max: float) -> None:
        self.heard_seconds = 0.0
        self._expected_seconds, self._seconds_max = expected_seconds, seconds_max
        self._check(expected_seconds)

    def measured(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        reported = 0.0
        for piece in pieces:
            yield piece
            self.heard_seconds += len(piece) / BYTES_PER_SAMPLE / SAMPLE_RATE
            self._check(self.heard_seconds)
            if self.heard_seconds - reported >= REPORT_SECONDS:
                reported = self.heard_seconds
                self._report()

    def _check(self, seconds: float) -> None:
        if seconds > self._seconds_max:
            raise TaskError("media_too_long", f"the recording is longer than {self._seconds_max:g} s")

    def _report(self) -> None:
        message = f"{self.heard_seconds:.0f} s heard"
        if self._expected_seconds > 0:
            report(percent=min(100 * self.heard_seconds / self._expected_seconds, PERCENT_HEARD), message=message)
        else:
            report(message=message)
