"""A real llama-cpp-python server with a model made by code: started, used, cancelled, killed, and gone at the end."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from agents.engines.local_text import LocalText
from agents.engines.text import Delta, Generation, Message, TextRequest
from agents.handlers.settings import LlmSettings
from domain.errors import TaskError
from tests.support.tiny_gguf import write_tiny_gguf

pytestmark = pytest.mark.skipif(importlib.util.find_spec("llama_cpp") is None, reason="needs the extra llm")

DEADLINE_SECONDS = 60


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture
async def model(model_path: Path) -> AsyncIterator[LocalText]:
    text = LocalText(LlmSettings(model_path=str(model_path), n_ctx=512, threads=1, ports=()))
    yield text
    await text.close()


def request(max_tokens: int = 20, prompt: str = "hello", seed: int = 1) -> TextRequest:
    return TextRequest(prompt=prompt, max_tokens=max_tokens, temperature=1.0, seed=seed)


async def ignore(_: Delta) -> None: ...


async def generate(model: LocalText, asked: TextRequest | None = None) -> Generation:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await model.generate(asked or request(), ignore)


def server_pid(model: LocalText) -> int | None:
    return model._opened[1].pid if model._opened else None


async def in_mid_text(model: LocalText) -> asyncio.Task[Generation]:
    """A generation that has begun, and is far from its end."""
    begun = asyncio.Event()

    async def hear(_: Delta) -> None:
        begun.set()
        await asyncio.sleep(0.02)  # so that it lasts

    task = asyncio.create_task(model.generate(request(max_tokens=450), hear))
    await asyncio.wait_for(begun.wait(), DEADLINE_SECONDS)
    return task


async def test_text_comes_in_pieces_with_its_usage_and_the_same_seed_repeats_it(model: LocalText) -> None:
    pieces: list[str] = []

    async def hear(delta: Delta) -> None:
        pieces.append(delta.text)

    generation = await model.generate(request(), hear)
    assert generation.text == "".join(pieces)
    assert len(pieces) > 5
    assert generation.model == "tiny"
    assert generation.finish_reason == "length"
    assert generation.usage.prompt_tokens == len(["<s>", "▁", *"hello"])
    assert generation.usage.completion_tokens in range(15, 25)
    assert (await generate(model)).text == generation.text


async def test_a_chat_uses_the_models_own_template(model: LocalText) -> None:
    asked = TextRequest(messages=[Message(role="user", content="hello")], max_tokens=5, temperature=0.0)
    assert (await generate(model, asked)).text


async def test_requests_queue_rather_than_cut_each_other_off(model: LocalText) -> None:
    answers = await asyncio.gather(*(generate(model, request(seed=seed)) for seed in range(4)))
    assert [answer.finish_reason for answer in answers] == ["length"] * 4


async def test_a_cancelled_text_leaves_a_server_that_is_free_at_once(model: LocalText) -> None:
    task = await in_mid_text(model)
    pid = server_pid(model)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, DEADLINE_SECONDS)
    assert (await generate(model)).finish_reason == "length"
    assert server_pid(model) == pid


async def test_a_server_that_does_not_stop_is_killed_before_the_cancel_is_confirmed(model: LocalText) -> None:
    task = await in_mid_text(model)
    pid = server_pid(model)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, DEADLINE_SECONDS)
    assert not psutil.pid_exists(pid)
    assert (await generate(model)).finish_reason == "length"


async def test_a_dead_server_fails_the_attempt_that_used_it_and_is_restarted(model: LocalText) -> None:
    task = await in_mid_text(model)
    pid = server_pid(model)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(TaskError) as caught:
        await asyncio.wait_for(task, DEADLINE_SECONDS)
    assert (caught.value.code, caught.value.retryable) == ("engine_died", True)
    assert "SIGKILL" in caught.value.detail
    assert (await generate(model)).finish_reason == "length"
    assert server_pid(model) != pid


async def test_a_prompt_that_leaves_no_room_fails_for_good(model: LocalText) -> None:
    with pytest.raises(TaskError) as caught:
        await generate(model, request(prompt="long " * 200))
    assert (caught.value.code, caught.value.retryable) == ("context_exceeded", False)


async def test_closing_leaves_no_process(model: LocalText) -> None:
    await model.warm_up()
    pid = server_pid(model)
    assert pid is not None
    await model.close()
    assert not psutil.pid_exists(pid)


async def test_a_file_that_is_no_model_fails_the_attempt_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"not a model")
    model = LocalText(LlmSettings(model_path=str(tmp_path / "broken.gguf"), ports=()))
    try:
        with pytest.raises(TaskError) as caught:
            await generate(model)
        assert (caught.value.code, caught.value.retryable) == ("engine_died", True)
        assert "exited with status" in caught.value.detail
    finally:
        await model.close()


async def test_a_missing_file_fails_for_good(tmp_path: Path) -> None:
    model = LocalText(LlmSettings(model_path=str(tmp_path / "none.gguf")))
    with pytest.raises(TaskError) as caught:
        await generate(model)
    assert (caught.value.code, caught.value.retryable) == ("model_not_found", False)


def test_the_server_dies_with_an_owner_that_is_killed(model_path: Path) -> None:
    program = textwrap.dedent("""
        import asyncio, sys
        from agents.engines.local_text import LocalText
        from agents.handlers.settings import LlmSettings
        async def main():
            text = LocalText(LlmSettings(model_path=sys.argv[1], n_ctx=512, ports=()))
            await text.warm_up()
            print(text._opened[1].pid, flush=True)
            await asyncio.sleep(600)
        asyncio.run(main())
    """)
    repository = Path(__file__).parents[4]
    with subprocess.Popen(
        [sys.executable, "-c", program, str(model_path)], stdout=subprocess.PIPE, cwd=repository, text=True
    ) as owner:
        assert owner.stdout is not None
        server = psutil.Process(int(owner.stdout.readline()))
        owner.kill()
    psutil.wait_procs([server], timeout=DEADLINE_SECONDS)
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE
