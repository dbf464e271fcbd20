"""Text from a model file on this machine, through its supervised server."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from agents.engines.llama_config import LlamaConfig, llama_config
from agents.engines.llama_server import Endpoint, LlamaServer
from agents.engines.openai_text import OpenAIText
from agents.engines.text import Delta, DeltaSink, Generation, TextRequest, Usage
from agents.handlers.settings import LlmSettings
from domain import provider_errors as codes
from domain.errors import TaskError


class LocalText:
    """One model instance. Attempts wait while it starts; a dead server fails the one attempt that used it."""

    def __init__(self, settings: LlmSettings) -> None:
        self._settings = settings
        self._opening = asyncio.Lock()
        self._opened: tuple[LlamaConfig, LlamaServer] | None = None
        #: The client of the server that runs now: to make one takes longer than many a call.
        self._client: tuple[Endpoint, OpenAIText] | None = None

    @property
    def resumable(self) -> bool:
        """Always; see `agents.engines.llama_resume`."""
        return True

    @property
    def loaded(self) -> bool:
        """Whether its server answers."""
        return self._opened is not None and self._opened[1].ready

    async def warm_up(self) -> None:
        """Load the model."""
        _, server = await self._open()
        await server.warm_up()

    async def close(self) -> None:
        """Kill the server."""
        if self._client is not None:
            await self._client[1].close()
            self._client = None
        if self._opened is not None:
            await self._opened[1].close()
            self._opened = None

    async def generate(self, request: TextRequest, on_delta: DeltaSink) -> Generation:
        """See TextModel; adds TaskError `context_exceeded` for a prompt that leaves no room for an answer."""
        config, server = await self._open()
        written = 0

        async def count(delta: Delta) -> None:
            nonlocal written
            written += len(delta.tokens)
            await on_delta(delta)

        async with server.lease() as endpoint:
            prompt_tokens = await count_tokens(endpoint, config.alias, request.whole_text)
            room = config.n_ctx - prompt_tokens
            if room < 1:
                detail = f"the prompt has {prompt_tokens} tokens, the model takes {config.n_ctx} with its answer"
                raise TaskError(codes.CONTEXT_EXCEEDED, detail)
            text = await self._text(endpoint, config)
            # The instance has one model: whatever name brought the task here, this is it.
            bounded = replace(request, model=config.alias, max_tokens=min(request.max_tokens, room))
            generation = await text.generate(bounded, count)
        usage = Usage(prompt_tokens=prompt_tokens, completion_tokens=written)
        return replace(generation, model=config.alias, usage=usage)

    async def _open(self) -> tuple[LlamaConfig, LlamaServer]:
        async with self._opening:
            if self._opened is None:
                config = await asyncio.to_thread(llama_config, self._settings)
                self._opened = config, LlamaServer(config)
        return self._opened

    async def _text(self, endpoint: Endpoint, config: LlamaConfig) -> OpenAIText:
        if self._client is not None and self._client[0] != endpoint:
            await self._client[1].close()
            self._client = None
        if self._client is None:
            text = OpenAIText(
                endpoint.base_url,
                model=config.alias,
                api_key=endpoint.api_key,
                silence_seconds_max=self._settings.silence_seconds_max,
                ask_for_usage=False,  # this server does not know the option
            )
            self._client = endpoint, text
        return self._client[1]


async def count_tokens(endpoint: Endpoint, model: str, text: str) -> int:
    """How many tokens a text has for the server's model; what its chat template adds is left out.

    Raises:
        TaskError: the server did not answer.
    """
    import httpx

    url = endpoint.base_url.removesuffix("/v1") + "/extras/tokenize/count"
    body: dict[str, Any] = {"model": model, "input": text}
    try:
        async with endpoint.client(timeout_seconds=30.0) as client:
            response = await client.post(url, json=body)
            response.raise_for_status()
            return int(response.json()["count"])
    except httpx.HTTPError as error:
        detail = f"the model server did not count tokens: {type(error).__name__}: {error}"
        raise TaskError(codes.ENGINE_DIED, detail, retryable=True) from error
