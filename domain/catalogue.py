"""Which task types exist: what the doors validate by, and where each type's work goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel

from domain.errors import UnknownTaskType


class TokenNeed(NamedTuple):
    """The most tokens that one attempt may use: read, and written."""

    prompt: int
    answer: int


@dataclass(frozen=True, slots=True)
class TaskType:
    """One kind of work. The payload model's JSON Schema is its public contract."""

    name: str
    resource_class: str
    payload: type[BaseModel]
    #: Version of its handler; a worker holds what a newer version wrote.
    version: int = 1
    description: str = ""
    #: Tasks of the type are routed by their model, so that they meet at its limits and its warm weights.
    routed_by_model: bool = False
    #: What an attempt with the parsed payload may use; None where work is not counted in tokens.
    tokens: Callable[[Any], TokenNeed] | None = None
    #: Whether an attempt can hand its slot back and go on later. A call to a remote model cannot.
    preemptible: bool = False


class Catalogue(Mapping[str, TaskType]):
    """The registered task types by name.

    Raises:
        UnknownTaskType: on a look-up of a name that nobody registered.
    """

    def __init__(self, types: Iterable[TaskType]) -> None:
        self._types = {task_type.name: task_type for task_type in types}

    def __getitem__(self, name: str) -> TaskType:
        try:
            return self._types[name]
        except KeyError:
            raise UnknownTaskType(name, list(self._types)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)
