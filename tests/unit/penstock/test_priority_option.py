"""`penstock submit --priority`: words and numbers alike."""

import pytest

from penstock.commands.tasks import read_priority
from penstock.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "number"), [("low", 1), ("normal", 2), ("high", 3), ("HIGH", 3), ("1", 1), ("2", 2), ("3", 3)]
)
def test_a_word_and_its_number_are_the_same_priority(text: str, number: int) -> None:
    assert read_priority(text) == number


@pytest.mark.parametrize("text", ["0", "4", "urgent", "", "2.5", "-1"])
def test_anything_else_is_refused_with_what_may_be_given(text: str) -> None:
    with pytest.raises(SettingsError, match=r"low, normal or high, or 1, 2 or 3"):
        read_priority(text)
