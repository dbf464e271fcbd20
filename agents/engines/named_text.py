"""A text model under the name that the configuration gives it, whose calls are measured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from agents.engines.text import DeltaSink, Generation, TextModel, TextRequest
from domain.errors import TaskError
from schemas.models import ModelDefinition


class Named:
    """A model as the configuration calls it, whatever its instances and endpoints call it. Its calls are measured."""

    def __init__(
        self,
        definition: ModelDefinition,
        text: TextModel,
        told: Callable[[ModelDefinition, float, TaskError | None], None],
    ) -> None:
        self._definition, self.text, self._told = definition, text, told

    @property
    def resumable(self) -> bool:
        return self.text.resumable

    async def generate(self, request: TextRequest, on_delta: DeltaSink) -> Generation:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            generation = await self.text.generate(replace(request, model=self._definition.upstream_name), on_delta)
        except TaskError as error:
            self._told(self._definition, loop.time() - begun, error)
            raise
        if request.begun is None:
            self._told(self._definition, loop.time() - begun, None)
        return replace(generation, model=self._definition.name)

    async def warm_up(self) -> None:
        await self.text.warm_up()

    async def close(self) -> None:
        await self.text.close()
