"""All engines of one worker process, opened and closed together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agents.engines.local_models import LocalModels
from agents.engines.pool import EnginePool
from agents.engines.text_models import TextModels
from agents.handlers.settings import HandlerSettings


class Engines:
    """Engines start at first need, or at `warm_up`; `close` leaves no process behind. For one event loop."""

    def __init__(self, settings: HandlerSettings, *, processes_max: int, modules: Sequence[str] = ()) -> None:
        #: Runs Python functions in processes that can be killed; `processes_max` is the class's number of slots.
        self.pool = EnginePool(processes_max, modules=modules, memory_bytes_max=settings.engine_memory_bytes_max)
        #: Language models by name.
        self.text_models = TextModels(settings.llm, settings.key_grants)
        #: Those of them that run here.
        self.local_models = LocalModels(self.text_models, settings.llm)
        self._llm = settings.llm

    async def warm_up(self, resource_class: str) -> None:
        """Start now what the class's first task would wait for.

        Raises:
            TaskError: the engine cannot start; the first task that needs it would fail the same way.
        """
        if resource_class == "llm":
            if self._llm.warm_up:
                await self.text_models.warm_up()
        else:
            await self.pool.warm_up()

    async def close(self) -> None:
        """Kill and release everything; returns when the processes are gone."""
        await asyncio.gather(self.pool.close(), self.text_models.close())
