"""What a call reserves before it is made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from domain.catalogue import TaskType
from domain.tokens import call_need, task_cost, task_need, text_tokens


class Asked(BaseModel):
    text: str
    max_tokens: int = 10


COUNTED = TaskType("t", "llm", Asked, tokens=lambda asked: call_need([asked.text], asked.max_tokens))


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("four", 1), ("fives", 2), ("写一个介绍", 5), ("привет", 4), ("a写", 2)]
)
def test_texts_of_several_scripts(text: str, tokens: int) -> None:
    assert text_tokens(text) == tokens


@given(st.text(), st.text())
def test_a_longer_text_has_no_fewer_tokens(first: str, second: str) -> None:
    assert text_tokens(first + second) >= max(text_tokens(first), text_tokens(second))
    assert text_tokens(first + second) <= text_tokens(first) + text_tokens(second)


def test_a_call_reserves_all_that_the_model_may_write() -> None:
    assert call_need(["four", "four"], 100) == (2 * (1 + 4), 100)


def test_the_cost_of_a_task_is_in_tokens_where_its_type_counts_them() -> None:
    assert task_cost(COUNTED, '{"text": "four", "max_tokens": 100}') == 105
    assert task_cost(TaskType("t", "cpu", Asked), '{"text": "four"}') == 1


def test_reading_and_writing_are_told_apart_since_they_have_prices_of_their_own() -> None:
    assert task_need(COUNTED, '{"text": "four", "max_tokens": 100}') == (5, 100)
    assert task_need(TaskType("t", "cpu", Asked), '{"text": "four"}') is None


def test_a_payload_that_does_not_fit_costs_the_least() -> None:
    assert task_cost(COUNTED, '{"text": 3}') == 1
