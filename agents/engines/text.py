"""The port to whatever writes text: a remote endpoint or a local model, both heard piece by piece."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """The next piece of a text."""

    text: str
    #: The tokens that it is made of, as the model numbers them; none where the endpoint does not tell.
    tokens: Sequence[int] = ()


DeltaSink = Callable[[Delta], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A text that was interrupted, to be gone on with: what its listener has heard, and what the model had written."""

    text: str
    tokens: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation; the role is `system`, `user` or `assistant`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequest:
    """Exactly one of `messages` (chat) and `prompt` (plain text to go on with) is given."""

    messages: Sequence[Message] = ()
    prompt: str | None = None
    #: None: the installation's default.
    model: str | None = None
    max_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    stop: Sequence[str] = ()
    seed: int | None = None
    #: Go on with this text; for models that are `resumable` only.
    begun: Begun | None = None

    @property
    def whole_text(self) -> str:
        """All that the model is given to read."""
        return self.prompt if self.prompt is not None else "\n".join(message.content for message in self.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens read and written; None where the endpoint does not tell."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What a model wrote."""

    text: str
    #: The model's name as the endpoint gives it.
    model: str
    usage: Usage
    #: `stop` where the text came to its end, `length` where max_tokens cut it.
    finish_reason: str


class TextModel(Protocol):
    """Writes text. Cancelling `generate` stops the model before the cancellation is through."""

    @property
    def resumable(self) -> bool:
        """Whether an interrupted text can be gone on with, so that the whole is what it would have been.

        Its deltas tell their tokens then. Remote endpoints do not: a call that is left is a call to be made anew.
        """
        ...

    async def generate(self, request: TextRequest, on_delta: DeltaSink) -> Generation:
        """The whole text; every piece is given to `on_delta` as it comes, but for what `begun` says is known already.

        Raises:
            TaskError: whose fault it is, and whether another attempt may help.
        """
        ...

    async def warm_up(self) -> None:
        """Do now what the first request would have to wait for."""

    async def close(self) -> None:
        """Release connections and processes."""
