"""Summarizes a text with the installation's language model."""

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

#: More tokens than words: three for two in European languages, and some to spare.
TOKENS_PER_WORD = 2


class SummarizationPayload(BaseModel):
    """What to summarize."""

    model_config = ConfigDict(extra="forbid", validate_by_name=True)

    text: str = Field(
        min_length=1, validation_alias=AliasChoices("text", "input"), description="`input` is another name for it"
    )
    max_words: int = Field(default=60, ge=5, le=1000, description="Most words of the summary")


def _tokens(payload: SummarizationPayload) -> TokenNeed:
    return call_need([payload.text], payload.max_words * TOKENS_PER_WORD)


@handler("summarization", resource_class="llm", payload=SummarizationPayload, tokens=_tokens, preemptible=True)
async def summarization(payload: SummarizationPayload, ctx: TaskContext) -> Mapping[str, object]:
    """Summarize a text."""
    tokens = payload.max_words * TOKENS_PER_WORD
    if completion_mode(ctx):
        prompt = prompts.summary_prompt(payload.text)
        request = TextRequest(prompt=prompt, stop=["\n"], model=ctx.model, max_tokens=tokens, temperature=0.0)
    else:
        messages = prompts.summary_messages(payload.text, payload.max_words)
        request = TextRequest(messages=messages, model=ctx.model, max_tokens=tokens, temperature=0.0)
    generation = await generate(ctx, request)
    text = prompts.within_words(generation.text.strip(), payload.max_words)
    if not text:
        raise TaskError("llm_empty_answer", "the model wrote no summary", retryable=True)
    return as_result(generation, text)
