"""Values that a payload takes from the results of the tasks it depends on.

`{"$from": "TASK"}` stands for the whole result of a task, `{"$from": "TASK#/segments/0/text"}` for a part of it: what
follows `#` is a JSON pointer (RFC 6901), with `~1` for `/` and `~0` for `~` within a name. To say such an object
itself, wrap it: `{"$literal": {"$from": "..."}}` stands for what it holds, which nobody looks into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from domain.errors import Flaw, PenstockError

FROM: Final = "$from"
LITERAL: Final = "$literal"

#: Keys and indexes from the payload's root.
Path = tuple[str | int, ...]


class UnresolvedReference(PenstockError):
    """A result has no such part."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One value that is still to come, and its place in the payload."""

    at: Path
    #: The task, or in a workflow the step, whose result it is taken from.
    source: str
    #: A JSON pointer into that result; empty for all of it.
    pointer: str

    @property
    def place(self) -> str:
        """Its place as a JSON pointer."""
        return "".join(f"/{str(key).replace('~', '~0').replace('/', '~1')}" for key in self.at)


def references(payload: Any) -> tuple[list[Reference], list[Flaw]]:
    """Every reference of a payload, and what is wrong with what looks like one."""
    found: list[Reference] = []
    flaws: list[Flaw] = []
    for at, value in _special(payload, ()):
        reference = _read(at, value)
        if isinstance(reference, Flaw):
            flaws.append(reference)
        elif reference is not None:
            found.append(reference)
    return found, flaws


def renamed(payload: Any, name: Callable[[str], str]) -> Any:
    """The payload with other names for the sources of its references; literals stay wrapped."""

    def rename(value: dict[str, Any]) -> Any:
        if LITERAL in value:
            return value
        source, mark, pointer = value[FROM].partition("#")
        return {FROM: f"{name(source)}{mark}{pointer}"}

    return _replaced(payload, rename)


def resolved(payload: Any, results: Mapping[str, Any]) -> Any:
    """The payload with each reference replaced by its value, and each literal by what it holds.

    A source that `results` lacks, since it did not complete, gives null.

    Raises:
        UnresolvedReference: a result has no part of that pointer.
    """

    def resolve(value: dict[str, Any]) -> Any:
        if LITERAL in value:
            return value[LITERAL]
        source, _, pointer = value[FROM].partition("#")
        return _part(source, results[source], pointer) if source in results else None

    return _replaced(payload, resolve)


def concerns(reference: Reference, loc: tuple[str | int, ...]) -> bool:
    """Whether a finding at `loc` may be due to the value that is still to come there.

    Pydantic puts names of its own between the keys of unions, so that the places are compared as subsequences.
    """
    return _within(reference.at, loc) or _within(loc, reference.at)


def _within(part: tuple[str | int, ...], whole: tuple[str | int, ...]) -> bool:
    rest = iter(whole)
    return all(key in rest for key in part)


def _special(value: Any, at: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    if isinstance(value, dict):
        if FROM in value or LITERAL in value:
            yield at, value
            return
        for key, each in value.items():
            yield from _special(each, (*at, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _special(each, (*at, index))


def _read(at: Path, value: dict[str, Any]) -> Reference | Flaw | None:
    place = Reference(at, "", "").place
    if len(value) > 1:
        return Flaw(place, f"an object with {FROM} or {LITERAL} has no other member")
    if LITERAL in value:
        return None
    text = value[FROM]
    source, mark, pointer = text.partition("#") if isinstance(text, str) else ("", "", "")
    if not source or (mark and pointer and not pointer.startswith("/")):
        return Flaw(place, f'{FROM} must be a text such as "TASK" or "TASK#/pointer/into/its/result"')
    return Reference(at, source, pointer)


def _replaced(value: Any, replace: Callable[[dict[str, Any]], Any]) -> Any:
    if isinstance(value, dict):
        if FROM in value or LITERAL in value:
            return replace(value)
        return {key: _replaced(each, replace) for key, each in value.items()}
    if isinstance(value, list):
        return [_replaced(each, replace) for each in value]
    return value


def _part(source: str, result: Any, pointer: str) -> Any:
    value = result
    for escaped in pointer.split("/")[1:]:
        key = escaped.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isascii() and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            stored = isinstance(result, dict) and set(result) == {"artifact"}
            hint = "; it is large and lies in the artifact store, so only all of it can be passed on" if stored else ""
            raise UnresolvedReference(f"the result of {source} has nothing at {pointer}{hint}")
    return value
