"""The language handlers, asking a model that is only pretended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from agents.context import Progress
from agents.engines.local_text import LocalText
from agents.engines.openai_text import OpenAIText
from agents.engines.text import Delta, DeltaSink, Generation, TextRequest, Usage
from agents.engines.text_models import Served, make_text_model
from agents.handlers import prompts
from agents.handlers.generating import DeltaBatch, Pace
from agents.handlers.registry import load_handlers
from agents.handlers.running import run_handler
from agents.handlers.settings import HandlerSettings, LlmSettings
from domain.errors import TaskError
from tests.support.contexts import context, port_of

CHAT = LlmSettings(base_url="http://fake.test/v1", model="fake-1")
COMPLETION = LlmSettings(base_url="http://fake.test/v1", model="fake-1", mode="completion")


class FakeModel:
    """Says the pieces it is given, and remembers what it was asked."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self.pieces, self.asked = pieces, list[TextRequest]()
        self.resumable = False

    async def generate(self, request: TextRequest, on_delta: DeltaSink) -> Generation:
        self.asked.append(request)
        for piece in self.pieces:
            await on_delta(Delta(text=piece))
        usage = Usage(prompt_tokens=5, completion_tokens=len(self.pieces))
        return Generation(text="".join(self.pieces), model="fake-1", usage=usage, finish_reason="stop")

    async def warm_up(self) -> None: ...

    async def close(self) -> None: ...


async def ask(
    task_type: str, payload: dict[str, object], llm: LlmSettings = CHAT, pieces: Sequence[str] = ("One", " two.")
) -> tuple[dict[str, Any], TextRequest]:
    model = FakeModel(pieces)
    async with context(HandlerSettings(llm=llm), model="asked-for") as ctx:
        ctx.engines.text_models._default = Served(model, llm.completion_mode)
        result = json.loads(await run_handler(load_handlers().get(task_type), payload, ctx))
        assert port_of(ctx).text == "".join(pieces)
    return result, model.asked[0]


async def test_the_result_has_text_model_and_usage() -> None:
    result, request = await ask("text-generation", {"prompt": "Count", "max_tokens": 7, "seed": 3, "stop": ["."]})
    assert result == {
        "text": "One two.",
        "model": "fake-1",
        "usage": {"prompt_tokens": 5, "completion_tokens": 2},
        "finish_reason": "stop",
    }
    assert [message.content for message in request.messages] == ["Count"]
    assert (request.max_tokens, request.seed, list(request.stop), request.model) == (7, 3, ["."], "asked-for")


async def test_a_base_model_is_given_text_to_go_on_with() -> None:
    _, request = await ask("text-generation", {"input": "Once upon"}, COMPLETION)
    assert (request.prompt, request.messages) == ("Once upon", [])
    _, request = await ask("text-generation", {"messages": [{"role": "user", "content": "Hi"}]}, COMPLETION)
    assert request.prompt == "User: Hi\nAssistant:"
    assert "\nUser:" in request.stop


@pytest.mark.parametrize("payload", [{}, {"prompt": "a", "messages": [{"role": "user", "content": "b"}]}])
async def test_a_prompt_or_a_conversation_but_not_both(payload: dict[str, object]) -> None:
    with pytest.raises(TaskError, match="either prompt or messages"):
        await ask("text-generation", payload)


async def test_a_summary_keeps_to_its_length() -> None:
    pieces = ["It is short. ", "This goes on and on for ever."]
    result, request = await ask("summarization", {"text": "long", "max_words": 5}, pieces=pieces)
    assert result["text"] == "It is short."
    assert "at most 5 words" in request.messages[0].content
    _, request = await ask("summarization", {"input": "a\n b", "max_words": 5}, COMPLETION)
    assert (request.prompt, request.stop) == ("a b\n\nTL;DR:", ["\n"])


async def test_a_translation_names_its_languages() -> None:
    payload: dict[str, object] = {"text": "Hello", "target_language": "de"}
    _, request = await ask("translation", payload)
    assert "from English to German" in request.messages[0].content
    _, request = await ask("translation", payload, COMPLETION)
    assert request.prompt is not None
    assert request.prompt.endswith("English: Hello\nGerman:")
    assert request.prompt.count("German:") == len(prompts.PARALLEL["German"]) + 1


@pytest.mark.parametrize("task_type", ["summarization", "translation"])
async def test_nothing_is_no_answer(task_type: str) -> None:
    payload: dict[str, object] = {"text": "x"}
    if task_type == "translation":
        payload["target_language"] = "fr"
    with pytest.raises(TaskError) as caught:
        await ask(task_type, payload, pieces=[" ", "\n"])
    assert (caught.value.code, caught.value.retryable) == ("llm_empty_answer", True)


async def test_without_a_model_the_error_says_what_to_set() -> None:
    async with context() as ctx:
        with pytest.raises(TaskError, match=r"llm\.base_url.*llm\.model_path") as caught:
            await run_handler(load_handlers().get("text-generation"), {"prompt": "a"}, ctx)
    assert (caught.value.code, caught.value.retryable) == ("llm_not_configured", False)


def test_settings_choose_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(make_text_model(CHAT), OpenAIText)
    assert isinstance(make_text_model(LlmSettings(model_path="x.gguf")), LocalText)
    with pytest.raises(TaskError, match=r"llm\.model"):
        make_text_model(LlmSettings(base_url="http://fake.test"))
    by_reference = CHAT.model_validate({**CHAT.model_dump(), "api_key": "env:FAKE_KEY"})
    with pytest.raises(TaskError, match="FAKE_KEY, which is not set"):
        make_text_model(by_reference)
    monkeypatch.setenv("FAKE_KEY", "secret")
    assert by_reference.resolve_api_key() == "secret"
    assert "secret" not in repr(by_reference)


async def test_pieces_go_out_together_and_in_order() -> None:
    async with context() as ctx:
        batch = DeltaBatch(ctx)
        for piece in ["a", "b", "c"]:
            await batch.add(piece)
        assert port_of(ctx).seen == [Progress(delta="a")]
        await batch.flush()
        await batch.flush()
    assert port_of(ctx).seen == [Progress(delta="a"), Progress(delta="bc")]


@pytest.mark.parametrize(
    ("language", "name"), [("de", "German"), ("de-AT", "German"), ("german", "German"), ("Welsh", "Welsh")]
)
def test_languages_have_codes_and_names(language: str, name: str) -> None:
    assert prompts.language_name(language) == name


def test_every_language_of_the_examples_has_every_example() -> None:
    assert {len(sentences) for sentences in prompts.PARALLEL.values()} == {len(prompts.PARALLEL["English"])}


@pytest.mark.parametrize(
    ("text", "cut"), [("a b c", "a b c"), ("A b. C d e", "A b."), ("a b c d", "a b c"), ('"A." b c d', '"A."')]
)
def test_a_text_is_cut_after_a_sentence_if_it_can_be(text: str, cut: str) -> None:
    assert prompts.within_words(text, 3) == cut


def test_a_part_of_a_text_is_worked_on_as_long_as_it_took_to_get_there() -> None:
    pace = Pace(least_seconds=0.25, share=1.0)
    assert not pace.worth(begun=0.0, new=0.0, now=0.2)
    assert pace.worth(begun=0.0, new=0.0, now=0.25)
    assert not pace.worth(begun=0.0, new=3.0, now=5.9)
    assert pace.worth(begun=0.0, new=3.0, now=6.0)
