"""What the language handlers share: asking the model, and letting watchers read along."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from agents.context import TaskContext
from agents.engines.text import Delta, Generation, TextRequest

#: Pieces of text are sent together, at most so often: a record for each token would be more than the text is worth.
DELTA_SECONDS = 0.05


class DeltaBatch:
    """Gathers pieces of a text and sends them as progress, never more often than every DELTA_SECONDS."""

    def __init__(self, ctx: TaskContext) -> None:
        self._ctx = ctx
        self._pieces: list[str] = []
        self._sent_at = float("-inf")

    async def add(self, piece: str) -> None:
        """Take one more piece; the first goes out at once."""
        self._pieces.append(piece)
        now = asyncio.get_running_loop().time()
        if now - self._sent_at >= DELTA_SECONDS:
            self._sent_at = now
            await self.flush()

    async def flush(self) -> None:
        """Send what is left."""
        if self._pieces:
            delta = "".join(self._pieces)
            self._pieces.clear()
            await self._ctx.progress(delta=delta)


def completion_mode(ctx: TaskContext) -> bool:
    """Whether the task's model wants plain text to go on with, as base models do.

    Raises:
        TaskError: there is no such model.
    """
    return ctx.engines.text_models.get(ctx.model).completion_mode


async def generate(ctx: TaskContext, request: TextRequest) -> Generation:
    """What the task's model writes; its text is shown as it grows.

    Raises:
        TaskError: as the engine says.
    """
    model = ctx.engines.text_models.get(ctx.model).text
    batch = DeltaBatch(ctx)

    async def hear(delta: Delta) -> None:
        await batch.add(delta.text)

    generation = await model.generate(request, hear)
    await batch.flush()
    return generation


def as_result(generation: Generation, text: str) -> Mapping[str, object]:
    """The result that every language handler gives, with the text as the caller should see it."""
    usage = {
        "prompt_tokens": generation.usage.prompt_tokens,
        "completion_tokens": generation.usage.completion_tokens,
    }
    return {"text": text, "model": generation.model, "usage": usage, "finish_reason": generation.finish_reason}
