"""Copies with changes are what the standard library makes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.changed import changer
from domain.task import TaskState
from projections.runs import Run

STATE = TaskState(task_id="t-1", run=1, attempt=2, routed_to=("a",))
VALUES: list[Any] = [STATE, Run(state=STATE, created_at=datetime(2026, 11, 21, tzinfo=UTC))]


@given(value=st.sampled_from(VALUES), data=st.data())
def test_a_copy_equals_what_replace_gives_and_leaves_the_value_as_it_was(value: Any, data: st.DataObject) -> None:
    names = data.draw(st.sets(st.sampled_from(list(type(value).__dataclass_fields__))))
    changes = {name: object() for name in names}
    before = replace(value)
    assert changer(type(value))(value, **changes) == replace(value, **changes)
    assert value == before


def test_a_name_that_is_no_field_is_an_error() -> None:
    with pytest.raises(AttributeError):
        changer(TaskState)(STATE, colour="blue")


def test_what_looks_at_itself_when_it_is_made_is_refused() -> None:
    @dataclass(frozen=True, slots=True)
    class Checked:
        number: int

        def __post_init__(self) -> None:
            assert self.number

    with pytest.raises(AssertionError):
        changer(Checked)
