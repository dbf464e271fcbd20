"""llama-cpp-python's server, taught to go on with a text that it, or another server, has begun.

It runs in the place of `llama_cpp.server`. A streamed answer tells the tokens that it is made of, in the field `tokens`
of its chunks. A request that gives them back in the field `resume_tokens` gets the same stream again: those tokens are
not chosen anew, and then the model goes on. What an uninterrupted answer holds back, cuts off or counts, this one does
too. To go on from the text would not do: it may fall into other tokens than those that it was written in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import llama_cpp
from llama_cpp.server import types

from agents.engines.llama_resume import Resuming

#: More cannot be: no context is longer.
RESUME_TOKENS_MAX = 2**20


#: Tokens that no chunk has told yet. The server works on one request at a time.
_untold: list[int] = []


def teach(llama: type[Any], requests: Any) -> None:
    """Add the two fields to the server's requests and answers; before the server's own module is imported."""
    for name in ("CreateCompletionRequest", "CreateChatCompletionRequest"):
        setattr(requests, name, _resumable(getattr(requests, name)))
    resuming = Resuming(llama.generate)
    for name in ("__call__", "create_chat_completion"):
        setattr(llama, name, _telling(getattr(llama, name), resuming))
    llama.generate = _generate(resuming)
    llama._init_sampler = _reminded(llama._init_sampler, resuming)


def _resumable(request: type[Any]) -> type[Any]:
    fields: dict[str, Any] = {
        "__module__": request.__module__,
        "__annotations__": {"resume_tokens": list[int]},
        "resume_tokens": [],
    }
    return type(request.__name__, (request,), fields)


def _telling(answer: Callable[..., Any], resuming: Resuming) -> Callable[..., Any]:
    def told(self: Any, *args: Any, resume_tokens: Sequence[int] = (), **options: Any) -> Any:
        if len(resume_tokens) > RESUME_TOKENS_MAX:
            raise ValueError(f"resume_tokens has {len(resume_tokens)} tokens, {RESUME_TOKENS_MAX} may be")
        resuming.resume = list(resume_tokens)
        _untold.clear()
        answered = answer(self, *args, **options)
        if options.get("stream"):
            return _with_tokens(answered, resuming)
        resuming.ended = True
        return answered

    return told


def _with_tokens(chunks: Iterator[dict[str, Any]], resuming: Resuming) -> Iterator[dict[str, Any]]:
    for chunk in chunks:
        chunk["tokens"] = list(_untold)
        _untold.clear()
        yield chunk
    resuming.ended = True


def _generate(resuming: Resuming) -> Callable[..., Iterator[int]]:
    def generate(self: Any, tokens: Sequence[int], **options: Any) -> Iterator[int]:
        for token in resuming.tokens(self, tokens, options):
            _untold.append(token)
            yield token

    return generate


def _reminded(init_sampler: Callable[..., Any], resuming: Resuming) -> Callable[..., Any]:
    def reminded(self: Any, **options: Any) -> Any:
        """Penalties for repetition, and grammars, go by what the sampler has written."""
        sampler = init_sampler(self, **options)
        for token in resuming.resume:
            sampler.accept(token)
        return sampler

    return reminded


def main() -> None:
    """Serve, as `python -m llama_cpp.server` would."""
    teach(llama_cpp.Llama, types)
    from llama_cpp.server.__main__ import main as serve

    serve()  # type: ignore[no-untyped-call]  # it has no types


if __name__ == "__main__":
    main()
