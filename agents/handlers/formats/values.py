"""The values that every format is read into and written from: those of JSON, bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from domain.errors import TaskError

#: A value as JSON knows it: finite numbers, text keys, no unpaired surrogates.
Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]

#: Lists and objects within one another. Deeper content is an attack or a mistake, and would exhaust the stack.
DEPTH_MAX = 100
#: Scalars, lists and objects in all, with every YAML alias counted as often as it is used.
NODES_MAX = 1_000_000
#: Characters that may come out: indentation and escapes make a text longer than what it was made from.
OUTPUT_CHARACTERS_MAX = 16 * 1024 * 1024


def invalid(format_name: str, problem: str, line: int | None = None, column: int | None = None) -> TaskError:
    """The error for content that cannot be read; line and column count from 1."""
    where = "" if line is None else f" at line {line}" + ("" if column is None else f", column {column}")
    return TaskError("invalid_content", f"not valid {format_name}{where}: {problem}")


def check_depth(value: Value, format_name: str) -> None:
    """Refuse what is nested deeper than DEPTH_MAX.

    Raises:
        TaskError: `invalid_content`.
    """
    level: list[Value] = [value]
    depth = 0
    while level:
        depth += 1
        if depth > DEPTH_MAX:
            raise invalid(format_name, f"nested more than {DEPTH_MAX} levels deep")
        level = [child for parent in level for child in _children(parent)]


def check_text(content: str, format_name: str) -> None:
    """Refuse text that no file could hold.

    Raises:
        TaskError: `invalid_content`.
    """
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise invalid(format_name, f"unpaired surrogate at character {error.start + 1}") from None


def check_output(text: str) -> str:
    """The text, if it is not too long to hand on.

    Raises:
        TaskError: `result_too_large`.
    """
    if len(text) > OUTPUT_CHARACTERS_MAX:
        raise TaskError(
            "result_too_large", f"the result has {len(text)} characters; at most {OUTPUT_CHARACTERS_MAX} may come out"
        )
    return text


def _children(value: Value) -> Sequence[Value]:
    if isinstance(value, Mapping):
        return [child for child in value.values() if isinstance(child, dict | list)]
    return [child for child in value if isinstance(child, dict | list)] if isinstance(value, list) else []
