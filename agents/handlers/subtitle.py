"""Writes subtitles for a video with speech."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agents.context import TaskContext
from agents.engines.transcription import transcribe
from agents.handlers.files import allowed_file
from agents.handlers.registry import handler
from agents.handlers.srt import write_srt
from domain.errors import TaskError

SRT_MEDIA_TYPE = "application/x-subrip"


class SubtitlePayload(BaseModel):
    """A video: where it lies, or itself."""

    model_config = ConfigDict(extra="forbid")

    video: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="A file in the folder for tasks' files, or the URI of an artifact",
    )
    content_base64: str | None = Field(default=None, min_length=1, description="A short video itself, in Base64")
    language: str = Field(default="en", pattern="^[a-z]{2,3}$", description="What is spoken, an ISO 639 code")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.video is None) == (self.content_base64 is None):
            raise ValueError("give either video or content_base64")
        return self


@handler("subtitle", resource_class="media", payload=SubtitlePayload)
async def subtitle(payload: SubtitlePayload, ctx: TaskContext) -> Mapping[str, object]:
    """Write subtitles (SRT) for a video with speech."""
    async with _video_file(payload, ctx) as path:
        words, duration_seconds = await ctx.run_in_process(
            transcribe, path, payload.language, ctx.settings.video_seconds_max
        )
    srt = write_srt(words)
    artifact = await ctx.artifacts.put(srt.encode(), SRT_MEDIA_TYPE)
    await ctx.progress(percent=100)
    return {
        "srt": srt,
        "artifact": artifact.as_json(),
        "duration_seconds": round(duration_seconds, 3),
        "words": len(words),
    }


@contextlib.asynccontextmanager
async def _video_file(payload: SubtitlePayload, ctx: TaskContext) -> AsyncIterator[Path]:
    """The video as a file, for as long as it is needed."""
    if payload.video is not None and not ctx.artifacts.holds(payload.video):
        yield await asyncio.to_thread(allowed_file, payload.video, ctx.settings.files_dir)
        return
    content = await ctx.artifacts.get(payload.video) if payload.video is not None else _decoded(payload)
    with tempfile.TemporaryDirectory(prefix="penstock-video-") as folder:
        path = Path(folder, "video")
        await asyncio.to_thread(path.write_bytes, content)
        yield path


def _decoded(payload: SubtitlePayload) -> bytes:
    assert payload.content_base64 is not None
    try:
        return base64.b64decode(payload.content_base64, validate=True)
    except binascii.Error as error:
        raise TaskError("invalid_payload", f"content_base64: {error}") from None
