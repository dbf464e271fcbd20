"""Copies of frozen values with some fields changed: what `dataclasses.replace` gives, for a fraction of its price.

Every fact changes a state, so copying is much of what a scheduler does.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar

from schemas.frozen import field_names, opened

T = TypeVar("T")


def changer(kind: type[T]) -> Callable[..., T]:
    """`changed(value, field=new, ...)` for one frozen and slotted dataclass that checks nothing when it is made.

    It raises AttributeError for a name that is no field.
    """
    unlocked, all_of = opened(kind), attrgetter(*field_names(kind))

    def changed(value: T, /, **changes: Any) -> T:
        copy = unlocked(*all_of(value))
        for name, each in changes.items():
            setattr(copy, name, each)
        copy.__class__ = kind
        return copy

    return changed
