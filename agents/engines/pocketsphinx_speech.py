"""English speech by pocketsphinx: small, offline, and right about nine words in ten where one person speaks clearly.

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
    """Hears English with the model that pocketsphinx brings along.

    The recording is cut where nobody speaks, and each stretch of speech is decoded as a whole: its loudness is then
    known from the start, which halves the errors.
    """

    def __init__(self) -> None:
        try:
            from pocketsphinx import Decoder, Endpointer
        except ImportError:
            raise TaskError(
                "engine_unavailable", "subtitles need the extra subtitles: pip install 'penstock[subtitles]'"
            ) from None
        self._decoder = Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")
        self._endpointer = Endpointer(sample_rate=SAMPLE_RATE)

    def hear(self, audio: Iterator[bytes]) -> list[Word]:
        """See Recogniser."""
        words: list[Word] = []
        for offset_seconds, speech in self._utterances(audio):
            words += self._decode(speech, offset_seconds)
        return words

    def _utterances(self, audio: Iterator[bytes]) -> Iterator[tuple[float, bytes]]:
        """Stretches of speech and where they begin, in seconds."""
        limit = int(UTTERANCE_SECONDS_MAX * SAMPLE_RATE) * BYTES_PER_SAMPLE
        speech, offset_seconds, begins = bytearray(), 0.0, True
        for frame in _frames(audio, self._endpointer.frame_bytes):
            whole = len(frame) == self._endpointer.frame_bytes
            if whole:
                heard = self._endpointer.process(frame)
            else:
                heard = self._endpointer.end_stream(frame) if self._endpointer.in_speech else None
            if heard is None:
                continue
            if begins:
                offset_seconds = self._endpointer.speech_start
            speech += heard
            begins = not self._endpointer.in_speech
            if begins or len(speech) >= limit:
                yield offset_seconds, bytes(speech)
                offset_seconds += len(speech) / BYTES_PER_SAMPLE / SAMPLE_RATE
                speech.clear()
        if speech:
            yield offset_seconds, bytes(speech)

    def _decode(self, speech: bytes, offset_seconds: float) -> list[Word]:
        self._decoder.start_utt()
        self._decoder.process_raw(speech, False, True)
        self._decoder.end_utt()
        # Fillers such as <sil> and [NOISE] are no words; a second pronunciation is marked `word(2)`.
        return [
            Word(
                text=_ALTERNATIVE.sub("", segment.word),
                start_seconds=offset_seconds + segment.start_frame * FRAME_SECONDS,
                end_seconds=offset_seconds + (segment.end_frame + 1) * FRAME_SECONDS,
            )
            for segment in self._decoder.seg() or ()
            if segment.word[0] not in "<["
        ]


def _frames(audio: Iterator[bytes], frame_bytes: int) -> Iterator[bytes]:
    """The sound in frames of one length; the last one is shorter, and perhaps empty."""
    pending = b""
    for piece in audio:
        pending += piece
        while len(pending) >= frame_bytes:
            yield pending[:frame_bytes]
            pending = pending[frame_bytes:]
    yield pending
