"""Translates a text with the installation's language model."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from agents.context import TaskContext
from agents.engines.text import TextRequest
from agents.handlers import prompts
from agents.handlers.generating import as_result, completion_mode, generate
from agents.handlers.registry import handler
from domain.catalogue import TokenNeed
from domain.errors import TaskError
from domain.tokens import call_need

#: A translation needs at most so many tokens for each character; scripts of many bytes a character come near it.
TOKENS_PER_CHARACTER = 1
TOKENS_MIN, TOKENS_MAX = 64, 8192


class TranslationPayload(BaseModel):
    """What to translate, from which language, into which. Languages are names or ISO 639-1 codes."""

    model_config = ConfigDict(extra="forbid", validate_by_name=True)

    text: str = Field(
        min_length=1, validation_alias=AliasChoices("text", "input"), description="`input` is another name for it"
    )
    source_language: str = Field(default="en", min_length=2, max_length=40)
    target_language: str = Field(min_length=2, max_length=40)


def _tokens_max(payload: TranslationPayload) -> int:
    return min(max(len(payload.text) * TOKENS_PER_CHARACTER, TOKENS_MIN), TOKENS_MAX)


def _tokens(payload: TranslationPayload) -> TokenNeed:
    return call_need([payload.text], _tokens_max(payload))


@handler("translation", resource_class="llm", payload=TranslationPayload, tokens=_tokens, preemptible=True)
async def translation(payload: TranslationPayload, ctx: TaskContext) -> Mapping[str, object]:
    """Translate a text from one language into another."""
    source = prompts.language_name(payload.source_language)
    target = prompts.language_name(payload.target_language)
    tokens = _tokens_max(payload)
    if completion_mode(ctx):
        prompt = prompts.translation_prompt(payload.text, source, target)
        request = TextRequest(prompt=prompt, stop=["\n"], model=ctx.model, max_tokens=tokens, temperature=0.0)
    else:
        messages = prompts.translation_messages(payload.text, source, target)
        request = TextRequest(messages=messages, model=ctx.model, max_tokens=tokens, temperature=0.0)
    generation = await generate(ctx, request)
    text = generation.text.strip()
    if not text:
        raise TaskError("llm_empty_answer", "the model wrote no translation", retryable=True)
    return as_result(generation, text)
