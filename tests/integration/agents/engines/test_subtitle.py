"""Subtitles of the example video, by the real recogniser in an engine process."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import re
from pathlib import Path

import jiwer
import psutil
import pytest

from agents.handlers.registry import load_handlers
from agents.handlers.running import run_handler
from agents.handlers.settings import HandlerSettings
from domain.errors import TaskError
from tests.support.contexts import context, port_of

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pocketsphinx") is None or importlib.util.find_spec("av") is None,
    reason="needs the extra subtitles",
)

EXAMPLES = Path(__file__).parents[4] / "examples" / "subtitle"
SETTINGS = HandlerSettings(files_dir=EXAMPLES)
VIDEO = {"video": "speech.mp4"}


async def failure(payload: dict[str, object], settings: HandlerSettings = SETTINGS) -> TaskError:
    async with context(settings) as ctx:
        with pytest.raises(TaskError) as caught:
            await run_handler(load_handlers().get("subtitle"), payload, ctx)
    assert not caught.value.retryable
    return caught.value


async def test_the_example_is_heard_well_enough_and_shows_its_progress() -> None:
    async with context(SETTINGS) as ctx:
        result = json.loads(await run_handler(load_handlers().get("subtitle"), VIDEO, ctx))
        assert (await ctx.artifacts.get(result["artifact"]["uri"])).decode() == result["srt"]
        percents = [progress.percent for progress in port_of(ctx).seen]
    blocks = [block.split("\n") for block in result["srt"].strip().split("\n\n")]
    heard = " ".join(block[2] for block in blocks)
    spoken = (EXAMPLES / "speech.txt").read_text().lower()
    assert jiwer.wer(re.sub(r"[^a-z ]", "", spoken), heard) < 0.2
    assert result["words"] == len(heard.split())
    assert result["duration_seconds"] == pytest.approx(27.2, abs=0.2)
    assert [block[0] for block in blocks] == [str(number) for number in range(1, len(blocks) + 1)]
    assert len(percents) > 5
    assert percents == sorted(percents, key=lambda percent: percent or 0)


async def test_a_cancelled_one_has_no_process_left() -> None:
    async with context(SETTINGS) as ctx:
        attempt = asyncio.create_task(run_handler(load_handlers().get("subtitle"), VIDEO, ctx))
        async with asyncio.timeout(60):
            while not port_of(ctx).seen:
                await asyncio.sleep(0.01)
        (pid,) = ctx.engines.pool.pids
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        assert not psutil.pid_exists(pid)


async def test_a_language_without_a_recogniser_is_refused_with_those_that_have_one() -> None:
    error = await failure({**VIDEO, "language": "de"})
    assert error.code == "language_unsupported"
    assert "en" in error.detail


@pytest.mark.parametrize(
    "content",
    [b"no video", b"#EXTM3U\n#EXTINF:9,\nspeech.mp4\n", b"ffconcat version 1.0\nfile speech.mp4\n", b"\0" * 4096],
)
async def test_what_is_no_recording_is_refused_and_play_lists_are_not_followed(content: bytes) -> None:
    error = await failure({"content_base64": base64.b64encode(content).decode()})
    assert error.code == "invalid_media"


async def test_a_recording_that_is_too_long_is_refused() -> None:
    error = await failure(dict(VIDEO), HandlerSettings(files_dir=EXAMPLES, video_seconds_max=5))
    assert error.code == "media_too_long"


async def test_only_files_of_the_folder_are_read() -> None:
    assert (await failure({"video": "../jobs.yaml"})).code == "file_refused"
    assert (await failure({"content_base64": "?"})).code == "invalid_payload"
