"""Writes text with the installation's language model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from agents.context import TaskContext
from agents.engines.text import Message, TextRequest
from agents.handlers import prompts
from agents.handlers.generating import as_result, completion_mode, generate
from agents.handlers.registry import handler
from domain.catalogue import TokenNeed
from domain.tokens import call_need


class ChatMessage(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str


class TextGenerationPayload(BaseModel):
    """Either a prompt or a conversation."""

    model_config = ConfigDict(extra="forbid", validate_by_name=True)

    prompt: str | None = Field(
        default=None,
        min_length=1,
        validation_alias=AliasChoices("prompt", "input"),
        description="What to answer, or with a base model: to go on from. `input` is another name for it",
    )
    messages: list[ChatMessage] | None = Field(default=None, min_length=1, description="A conversation to answer")
    max_tokens: int = Field(default=256, ge=1, le=32768, description="Most tokens to write")
    temperature: float = Field(default=0.7, ge=0, le=2, description="0: always the likeliest word")
    top_p: float | None = Field(default=None, gt=0, le=1)
    stop: list[str] = Field(default_factory=list, max_length=4, description="Texts that end the answer")
    seed: int | None = Field(default=None, ge=0, description="The same seed gives the same text, where a model can")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt or messages")
        return self


def _tokens(payload: TextGenerationPayload) -> TokenNeed:
    return call_need(
        [payload.prompt or "", *(message.content for message in payload.messages or ())], payload.max_tokens
    )


@handler("text-generation", resource_class="llm", payload=TextGenerationPayload, tokens=_tokens, preemptible=True)
async def text_generation(payload: TextGenerationPayload, ctx: TaskContext) -> Mapping[str, object]:
    """Write text from a prompt or a conversation."""
    messages = [Message(role=message.role, content=message.content) for message in payload.messages or ()]
    prompt, stop = payload.prompt, list(payload.stop)
    if not completion_mode(ctx):
        messages, prompt = messages or [Message(role="user", content=prompt or "")], None
    elif prompt is None:
        prompt, messages, stop = prompts.conversation_prompt(messages), [], [*stop, "\nUser:"]
    served = ctx.engines.text_models.get(ctx.model)
    given = payload.model_fields_set
    request = TextRequest(
        messages=messages,
        prompt=prompt,
        model=ctx.model,
        max_tokens=payload.max_tokens if "max_tokens" in given else served.max_tokens or payload.max_tokens,
        temperature=payload.temperature if "temperature" in given or served.temperature is None else served.temperature,
        top_p=payload.top_p,
        stop=stop,
        seed=payload.seed,
    )
    generation = await generate(ctx, request)
    return as_result(generation, generation.text)
