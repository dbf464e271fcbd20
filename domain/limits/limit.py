"""What a limit is, and which limits apply to a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

Scope = Literal["class", "model", "provider", "type", "tenant", "node"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
#: As the name of a limit: each one of the scope that has no limit of its own, each for itself.
EACH: Final = "*"
#: The order in which a task takes its permits, everywhere the same: two holders that wait for one another's permits
#: would wait for ever. What most work shares comes last, so that it is held idle by nobody who still waits for another.
_ORDER: Final[tuple[Scope, ...]] = ("tenant", "type", "node", "class", "model", "provider")


class Key(NamedTuple):
    """Whose limit: all that counts against one number."""

    scope: Scope
    name: str

    def __str__(self) -> str:
        return f"{self.scope} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How much may go on at once, and in a minute. What is None is not limited; with 0 nothing starts."""

    #: Attempts at a time.
    concurrency: int | None = None
    #: Attempts begun in a minute.
    requests_per_minute: float | None = None
    #: Prompt and answer together.
    tokens_per_minute: float | None = None

    def __post_init__(self) -> None:
        for name in ("concurrency", "requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} of a limit cannot be below nothing: {value!r}")

    def __bool__(self) -> bool:
        """Whether it limits anything."""
        return (self.concurrency, self.requests_per_minute, self.tokens_per_minute) != (None, None, None)


#: Limits by scope and name; the name may be `*`.
Limits = Mapping[tuple[str, str], Limit]


def limits_on(limits: Limits, names: Mapping[Scope, str | None]) -> Iterator[tuple[Key, Limit]]:
    """The limits that apply to work of these names, in the order in which its permits are taken."""
    for scope in _ORDER:
        name = names.get(scope)
        if name is None:
            continue
        limit = limits.get((scope, name)) or limits.get((scope, EACH))
        if limit:
            yield Key(scope, name), limit
