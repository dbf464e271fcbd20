"""Texts that PostgreSQL can hold, and notices that it can carry."""

from __future__ import annotations

from projections.texts import KEY_CHARACTERS_MAX, key, storable
from projections.writer import NOTICE_BYTES_MAX, notice


def test_nul_is_left_out() -> None:
    assert storable("a\0b") == key("a\0b") == "ab"
    assert storable(None) is key(None) is None


def test_keys_fit_into_an_index_entry() -> None:
    assert key("x" * 10_000) == "x" * KEY_CHARACTERS_MAX


def test_a_notice_names_tasks_as_long_as_they_fit() -> None:
    assert notice(["a", "b"]) == "a b"
    assert notice(["x" * 100] * (NOTICE_BYTES_MAX // 100)) == ""
