"""The sound of a video or audio file, as speech recognisers take it. Blocks; for engine processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.engines.speech import BYTES_PER_SAMPLE, SAMPLE_RATE
from domain.errors import TaskError

if TYPE_CHECKING:
    from av.container import InputContainer

#: Containers that may be opened. Play lists are not among them: they make the library read whatever they name.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpegts,mpeg,asf,wav,mp3,flac,ogg,aac,mpegvideo"


class Soundtrack:
    """The first audio stream of a file."""

    def __init__(self, container: InputContainer) -> None:
        self._container = container
        #: Length by the file's own word, in seconds; 0 if it does not say.
        self.duration_seconds = float(container.duration or 0) / 1_000_000

    def pieces(self) -> Iterator[bytes]:
        """The sound in SAMPLE_RATE mono s16 pieces.

        Raises:
            TaskError: `invalid_media` where the file is damaged.
        """
        import av

        resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        try:
            for frame in self._container.decode(self._container.streams.audio[0]):
                for resampled in resampler.resample(frame):
                    yield _samples(resampled)
            for resampled in resampler.resample(None):
                yield _samples(resampled)
        except av.FFmpegError as error:
            raise TaskError("invalid_media", f"the sound cannot be decoded: {error}") from error


@contextlib.contextmanager
def open_soundtrack(path: Path) -> Iterator[Soundtrack]:
    """The sound of the file, which is never taken for a play list or an address.

    Raises:
        TaskError: `invalid_media` for anything but a recording with sound; `engine_unavailable` without PyAV.
    """
    try:
        import av
    except ImportError:
        raise TaskError(
            "engine_unavailable", "subtitles need the extra subtitles: pip install 'penstock[subtitles]'"
        ) from None
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        container = av.open(str(path), mode="r", options=options)
    except (av.FFmpegError, OSError) as error:
        raise TaskError("invalid_media", f"not a video or audio file of a known kind: {error}") from error
    with container:
        if not container.streams.audio:
            raise TaskError("invalid_media", "the file has no sound")
        yield Soundtrack(container)


def _samples(frame: Any) -> bytes:
    # The plane is padded; only the samples count.
    return bytes(frame.planes[0])[: frame.samples * BYTES_PER_SAMPLE]
