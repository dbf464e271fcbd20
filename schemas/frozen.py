"""Frozen dataclasses made at the price of ordinary ones.

A frozen dataclass fills each of its fields past its own lock, which takes much longer than filling it. Where
values are made by the thousand they are filled while they are open, and locked when they are whole; nobody sees them
before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, make_dataclass
from typing import Any, TypeVar

T = TypeVar("T")


def field_names(kind: type) -> tuple[str, ...]:
    """Names of a dataclass's fields, in the order in which it declares them."""
    return tuple(field.name for field in fields(kind))


def maker(kind: type[T]) -> Callable[..., T]:
    """`made(*values)`, one value for each of `field_names(kind)`; see `opened` for what `kind` may be."""
    unlocked = opened(kind)

    def made(*values: Any) -> T:
        value = unlocked(*values)
        value.__class__ = kind
        return value

    return made


def opened(kind: type[T]) -> type[T]:
    """A class as `kind`, but not locked: it takes a value for each field, in their order, and any of them may change.

    Setting `__class__` to `kind` locks the instance for good. `kind` is frozen and slotted, and checks nothing when it
    is made.
    """
    assert not hasattr(kind, "__post_init__"), (
        f"{kind.__name__} must be made in the ordinary way, since it looks at itself"
    )
    filling = vars(make_dataclass(kind.__name__, field_names(kind)))["__init__"]
    # The same slots below the same bases: Python then takes one class for the other.
    members = {"__slots__": vars(kind)["__slots__"], "__setattr__": object.__setattr__, "__init__": filling}
    return type(kind.__name__, kind.__bases__, members)
