"""Hypothesis strategies for every message, from the types that its fields declare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, get_type_hints

from hypothesis import strategies as st

from schemas.codec import MESSAGES, AnyMessage

#: Any text that UTF-8 can hold, NUL included.
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
#: Every moment that a datetime can hold; hypothesis takes its bounds without a zone.
TIMES = st.datetimes(timezones=st.just(UTC))
LONGS = st.integers(-(2**63), 2**63 - 1)

_BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: LONGS,
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    bytes: st.binary(max_size=40),
    datetime: TIMES,
    str | None: st.none() | TEXT,
    int | None: st.none() | LONGS,
    datetime | None: st.none() | TIMES,
    float | None: st.none() | st.floats(allow_nan=False),
    tuple[str, ...]: st.lists(TEXT, max_size=3).map(tuple),
    Mapping[str, int]: st.dictionaries(TEXT, LONGS, max_size=3),
    Mapping[str, float]: st.dictionaries(TEXT, st.floats(allow_nan=False), max_size=3),
}


def of(message: type[AnyMessage]) -> st.SearchStrategy[AnyMessage]:
    """Any message of a type."""
    hints = get_type_hints(message)
    return st.builds(message, **{field.name: _BY_TYPE[hints[field.name]] for field in fields(message)})


ANY_MESSAGE: st.SearchStrategy[AnyMessage] = st.one_of(*[of(message) for message in MESSAGES])
