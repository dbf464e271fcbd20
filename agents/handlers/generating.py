"""What the language handlers share: asking the model, and letting watchers read along."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from agents.context import TaskContext
from agents.engines.text import Begun, Delta, Generation, TextModel, TextRequest
from agents.engines.yielding import Yielded

#: Pieces of text are sent together, at most so often: a record for each token would be more than the text is worth.
DELTA_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a part of a text is worked on at least, so that slots do not change hands for nothing."""

    least_seconds: float = 0.25
    #: Of the time that it took to come to where the part before had ended.
    share: float = 1.0

    def worth(self, begun: float, new: float, now: float) -> bool:
        """Whether enough was done; `begun`: the first piece came, `new`: the first that had not been there before."""
        return now - new >= max(self.least_seconds, self.share * (new - begun))


PACE = Pace()


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

    A local model hands its slot back between two tokens where others need it, and goes on there later: at temperature 0
    the text is what it would have been. A call to a remote model cannot be gone on with, so it is not interrupted.

    Raises:
        TaskError: as the engine says.
    """
    model = ctx.engines.text_models.get(ctx.model).text
    batch = DeltaBatch(ctx)
    if model.resumable:
        generation = await _generate_in_parts(ctx, model, request, batch)
    else:
        ctx.not_preemptible()
        generation = await model.generate(request, lambda delta: batch.add(delta.text))
    await batch.flush()
    ctx.used(**{name: number for name, number in _usage(generation).items() if number is not None})
    return generation


async def _generate_in_parts(ctx: TaskContext, model: TextModel, request: TextRequest, batch: DeltaBatch) -> Generation:
    begun = _begun(ctx)
    pieces, tokens = [begun.text] if begun is not None else [], list[int]()

    loop = asyncio.get_running_loop()
    known = 0 if begun is None else len(begun.tokens)
    begun_at: float | None = None
    new_at: float | None = None

    async def hear(delta: Delta) -> None:
        nonlocal begun_at, new_at
        now = loop.time()
        begun_at = begun_at or now
        if delta.text:
            pieces.append(delta.text)
            await batch.add(delta.text)
        # They come from the first one on, also where the text goes on.
        tokens.extend(delta.tokens)
        if len(tokens) > known:
            new_at = new_at or now
            if PACE.worth(begun_at, new_at, now):
                await ctx.checkpoint({"model": ctx.model, "pieces": pieces, "tokens": tokens})

    try:
        return await model.generate(replace(request, begun=begun), hear)
    except Yielded:
        # Whoever goes on counts all of this as heard.
        await batch.flush()
        raise


def _begun(ctx: TaskContext) -> Begun | None:
    """The text so far, if it was written by the same model: another one counts its tokens in another way."""
    state: Any = ctx.checkpointed
    if not isinstance(state, Mapping) or state.get("model") != ctx.model or not state.get("tokens"):
        return None
    return Begun(text="".join(state["pieces"]), tokens=list(state["tokens"]))


def as_result(generation: Generation, text: str) -> Mapping[str, object]:
    """The result that every language handler gives, with the text as the caller should see it."""
    return {
        "text": text,
        "model": generation.model,
        "usage": _usage(generation),
        "finish_reason": generation.finish_reason,
    }


def _usage(generation: Generation) -> dict[str, int | None]:
    return {
        "prompt_tokens": generation.usage.prompt_tokens,
        "completion_tokens": generation.usage.completion_tokens,
    }
