"""JSON text and values: RFC 8259, without the extensions that Python's parser allows."""

from __future__ import annotations

import json
import math
from typing import NoReturn

from agents.handlers.formats.values import Value, check_depth, check_text, invalid


def read(content: str) -> Value:
    """The value of a JSON text.

    Raises:
        TaskError: `invalid_content`, also for NaN, a number beyond a double's range, a key given twice, an unpaired
            surrogate, or too much nesting.
    """
    try:
        value: Value = json.loads(
            content.removeprefix("\ufeff"), parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_object
        )
    except json.JSONDecodeError as error:
        raise invalid("JSON", error.msg, error.lineno, error.colno) from None
    except ValueError as error:  # an integer of more digits than Python converts, or one of the hooks below
        raise invalid("JSON", str(error)) from None
    except RecursionError:
        raise invalid("JSON", "nested too deep") from None
    check_depth(value, "JSON")
    check_text(_text(value), "JSON")
    return value


def write(value: Value) -> str:
    """JSON text, indented by two spaces, with keys in their order and no escapes that are not needed."""
    return _text(value, indent=2) + "\n"


def _text(value: Value, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is out of range")
    return number


def _object(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # add
        raise ValueError(f"the key {twice!r} is given twice in one object")
    return value
