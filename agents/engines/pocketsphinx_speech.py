"""English speech by pocketsphinx: small, offline, and right about four words in five.

It hears words only: no punctuation, no capitals.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agents.engines.speech import BYTES_PER_SAMPLE, SAMPLE_RATE, Word
from domain.errors import TaskError

#: Length of a pocketsphinx frame, in seconds.
FRAME_SECONDS = 0.01
#: Longest stretch that is decoded as one utterance: the search's memory grows with it.
UTTERANCE_SECONDS_MAX = 30.0
_ALTERNATIVE = re.compile(r"\(\d+\)$")


class PocketsphinxRecogniser:
    """Hears English with the model that pocketsphinx brings along."""

    def __init__(self) -> None:
        try:
            from pocketsphinx import Decoder
        except ImportError:
            raise TaskError(
                "engine_unavailable", "subtitles need the extra subtitles: pip install 'penstock[subtitles]'"
            ) from None
        self._decoder = Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")

    def hear(self, audio: Iterator[bytes]) -> list[Word]:
        """See Recogniser."""
        words: list[Word] = []
        offset_bytes = heard_bytes = 0
        limit = int(UTTERANCE_SECONDS_MAX * SAMPLE_RATE) * BYTES_PER_SAMPLE
        self._decoder.start_utt()
        for piece in audio:
            self._decoder.process_raw(piece, False, False)
            heard_bytes += len(piece)
            if heard_bytes - offset_bytes >= limit:
                words += self._finish(offset_bytes)
                offset_bytes = heard_bytes
                self._decoder.start_utt()
        return words + self._finish(offset_bytes)

    def _finish(self, offset_bytes: int) -> list[Word]:
        self._decoder.end_utt()
        offset = offset_bytes / BYTES_PER_SAMPLE / SAMPLE_RATE
        # Fillers such as <sil> and [NOISE] are no words; a second pronunciation is marked `word(2)`.
        return [
            Word(
                text=_ALTERNATIVE.sub("", segment.word),
                start_seconds=offset + segment.start_frame * FRAME_SECONDS,
                end_seconds=offset + (segment.end_frame + 1) * FRAME_SECONDS,
            )
            for segment in self._decoder.seg() or ()
            if segment.word[0] not in "<["
        ]
