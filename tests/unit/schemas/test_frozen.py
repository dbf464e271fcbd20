"""What is made the quick way is what the constructor makes, and as closed."""

from __future__ import annotations

import copy
from dataclasses import FrozenInstanceError, dataclass

import pytest
from hypothesis import given

from schemas.codec import AnyMessage
from schemas.frozen import field_names, maker, opened
from tests.support.messages import ANY_MESSAGE


def quickly(message: AnyMessage) -> AnyMessage:
    return maker(type(message))(*(getattr(message, name) for name in field_names(type(message))))


@given(ANY_MESSAGE)
def test_it_is_the_same_value_of_the_same_class(message: AnyMessage) -> None:
    made = quickly(message)
    assert type(made) is type(message)
    assert made == message
    assert repr(made) == repr(message)
    assert copy.deepcopy(made) == message


@given(ANY_MESSAGE)
def test_nothing_of_it_can_be_changed(message: AnyMessage) -> None:
    made = quickly(message)
    for name in field_names(type(made)):
        with pytest.raises(FrozenInstanceError):
            setattr(made, name, None)
        with pytest.raises(FrozenInstanceError):
            delattr(made, name)


@dataclass(frozen=True, slots=True)
class Point:
    across: int
    down: int = 0


def test_its_hash_is_that_of_an_equal_value() -> None:
    assert {maker(Point)(1, 2), Point(1, 2)} == {Point(1, 2)}


def test_each_field_needs_its_value() -> None:
    with pytest.raises(TypeError):
        maker(Point)(1)


def test_what_looks_at_itself_when_it_is_made_is_refused() -> None:
    @dataclass(frozen=True, slots=True)
    class Checked:
        number: int

        def __post_init__(self) -> None:
            assert self.number

    with pytest.raises(AssertionError):
        opened(Checked)
