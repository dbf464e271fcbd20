"""How many tokens a call may use, estimated before it is made; settled afterwards with what it did use. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pydantic import ValidationError

from domain.catalogue import TaskType, TokenNeed

#: What the marks around one turn of a conversation take.
TOKENS_PER_MESSAGE: Final = 4
#: Characters of one token, in scripts that ASCII covers, and bytes of one in all others.
_ASCII_PER_TOKEN: Final = 4
_BYTES_PER_TOKEN: Final = 3


def text_tokens(text: str) -> int:
    """About as many tokens as a text has: four characters of English, one of Chinese, one and a half of Russian.

    Tokenizers differ by a third and more; a reservation is settled by what the provider counted.
    """
    size = len(text.encode(errors="replace"))
    # ASCII is counted by its length: in UTF-8 each other character takes two bytes or more.
    ascii_characters = size if text.isascii() else sum(character < "\x80" for character in text)
    whole = ascii_characters * _BYTES_PER_TOKEN + (size - ascii_characters) * _ASCII_PER_TOKEN
    return -(-whole // (_ASCII_PER_TOKEN * _BYTES_PER_TOKEN))


def call_need(texts: Iterable[str], max_tokens: int) -> TokenNeed:
    """What a call reserves: all that it sends, and the most that it lets the model write.

    Source: Moonshot counts max_tokens against the limit when a call begins, whatever the answer's length.
    """
    return TokenNeed(sum(text_tokens(text) + TOKENS_PER_MESSAGE for text in texts), max_tokens)


def task_need(task_type: TaskType, payload: str) -> TokenNeed | None:
    """What an attempt may use; None for work that is not counted in tokens. `payload` is its JSON text."""
    if task_type.tokens is None:
        return None
    try:
        return task_type.tokens(task_type.payload.model_validate_json(payload))
    except ValidationError:
        # The attempt will fail, and say why.
        return None


def task_cost(task_type: TaskType, payload: str) -> float:
    """Tokens that an attempt may use, as limits and fairness count it; 1 for work that is not counted in tokens."""
    need = task_need(task_type, payload)
    return 1.0 if need is None else float(max(1, need.prompt + need.answer))
