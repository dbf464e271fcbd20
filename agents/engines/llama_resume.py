"""Goes on with a text so that it ends as if nobody had interrupted it. Runs inside the model server's process.

The likeliest next token depends on how the text before it was computed, if ever so slightly: a model of full size gives
other last digits for tokens read in one batch than for tokens written one by one, and close races then end otherwise.
So at temperature 0 every text is computed in one way, whatever the server did before: the prompt in one batch on an
empty memory, then token by token. What was computed for an interrupted text is kept, within a bound, and put back when
the text goes on; elsewhere, or when it was dropped, its tokens are computed again one by one, but not chosen again.
At other temperatures the text is a matter of chance anyway: tokens to go on from are read in one batch.
"""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import llama_cpp

#: Memory for interrupted texts; a text that has more is computed again.
KEPT_BYTES_MAX: Final = 256 * 2**20
_SEQUENCE: Final = 0


@dataclass(frozen=True, slots=True)
class Computed:
    """What the model's memory holds: a prompt, and the tokens that were computed one by one after it."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]

    def begins(self, prompt: Sequence[int], tokens: Sequence[int]) -> bool:
        """Whether all of it but the last token, which is computed anew, is there."""
        needed = len(tokens) - 1
        return self.prompt == tuple(prompt) and self.tokens[:needed] == tuple(tokens[:needed])


class KeptTexts:
    """Copies of the memory of interrupted texts; the oldest go first."""

    def __init__(self, bytes_max: int = KEPT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._kept: OrderedDict[Computed, ctypes.Array[ctypes.c_uint8]] = OrderedDict()

    def keep(self, llama: Any, computed: Computed) -> None:
        """Copy what the model's memory holds now, where there is room for it."""
        size = llama_cpp.llama_state_seq_get_size(llama.ctx, _SEQUENCE)
        if size > self._bytes_max:
            return
        buffer = (ctypes.c_uint8 * size)()
        if llama_cpp.llama_state_seq_get_data(llama.ctx, buffer, size, _SEQUENCE) == size:
            self._kept[computed] = buffer
        while sum(map(len, self._kept.values())) > self._bytes_max:
            self._kept.popitem(last=False)

    def put_back(self, llama: Any, prompt: Sequence[int], tokens: Sequence[int]) -> bool:
        """Fill the model's memory with what was kept of the text, and forget the copy; False where nothing was."""
        found = next((each for each in self._kept if each.begins(prompt, tokens)), None)
        if found is None:
            return False
        buffer = self._kept.pop(found)
        llama.reset()
        llama._ctx.kv_cache_seq_rm(-1, 0, -1)
        if llama_cpp.llama_state_seq_set_data(llama.ctx, buffer, len(buffer), _SEQUENCE) == 0:
            return False
        held = (*found.prompt, *found.tokens)
        llama.input_ids[: len(held)] = held
        llama.n_tokens = len(held)
        return True


class Resuming:
    """Takes the place of `Llama.generate`."""

    def __init__(self, generate: Callable[..., Iterator[int]]) -> None:
        self._generate = generate
        self._kept = KeptTexts()
        #: Tokens to go on from, for the request at hand.
        self.resume: list[int] = []
        #: What the memory holds since the last text at temperature 0; None where it was computed in another way.
        self._prompt: tuple[int, ...] | None = None
        #: Whether that text came to its end, so that nobody will go on with it.
        self.ended = True

    def tokens(self, llama: Any, prompt: Sequence[int], options: dict[str, Any]) -> Iterator[int]:
        """The tokens of the text: those to go on from, and then new ones."""
        interrupted = None if self.ended else self._computed(llama)
        resume, self.ended = self.resume, False
        if options.get("temp", 1.0) > 0:
            self._keep(llama, interrupted)
            self._prompt = None
            yield from resume
        elif resume and interrupted is not None and interrupted.begins(prompt, resume):
            yield from resume
        else:
            self._keep(llama, interrupted)
            self._prompt = tuple(prompt)
            if resume and self._kept.put_back(llama, prompt, resume):
                yield from resume
            else:
                llama.reset()
                yield from self._again(llama, prompt, resume)
        # What the memory holds of these tokens is taken over; the last one at least is computed.
        yield from self._generate(llama, [*prompt, *resume], **options)

    def _keep(self, llama: Any, interrupted: Computed | None) -> None:
        if interrupted is not None:
            self._kept.keep(llama, interrupted)

    def _computed(self, llama: Any) -> Computed | None:
        if self._prompt is None or llama.n_tokens < len(self._prompt):
            return None
        held = llama.input_ids[: llama.n_tokens].tolist()
        return Computed(self._prompt, tuple(held[len(self._prompt) :]))

    def _again(self, llama: Any, prompt: Sequence[int], resume: Sequence[int]) -> Iterator[int]:
        """Compute the text as it was computed before. Each token is told, so that a listener who left is noticed."""
        computed: Sequence[int] = prompt
        for token in resume:
            llama.eval(computed)
            computed = [token]
            yield token
