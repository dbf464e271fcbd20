"""References to results: found, renamed, resolved, and left alone where they are meant literally."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.references import Reference, UnresolvedReference, concerns, references, renamed, resolved

RESULTS = {"a": {"text": "hello", "parts": [{"n/o~": 1}, 2]}, "b": [True]}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", RESULTS["a"]),
        ("a#", RESULTS["a"]),
        ("a#/text", "hello"),
        ("a#/parts/0/n~1o~0", 1),
        ("a#/parts/1", 2),
        ("b#/0", True),
        ("never-completed#/x", None),
    ],
)
def test_a_reference_stands_for_a_result_or_a_part_of_it(text: str, value: object) -> None:
    assert resolved({"x": [{"$from": text}]}, RESULTS) == {"x": [value]}


@pytest.mark.parametrize("text", ["a#/nothing", "a#/parts/2", "a#/parts/-1", "a#/text/0", "b#/"])
def test_a_part_that_is_not_there_is_named(text: str) -> None:
    with pytest.raises(UnresolvedReference, match=text.partition("#")[2]):
        resolved({"$from": text}, RESULTS)


def test_a_part_of_a_stored_result_cannot_be_had_and_says_why() -> None:
    results = {"a": {"artifact": {"uri": "file:///x"}}}
    assert resolved({"$from": "a"}, results) == results["a"]
    with pytest.raises(UnresolvedReference, match="artifact store"):
        resolved({"$from": "a#/text"}, results)


def test_a_literal_is_unwrapped_once_and_not_looked_into() -> None:
    payload = {"x": {"$literal": {"$from": "a", "$literal": 1}}}
    assert references(payload) == ([], [])
    assert renamed(payload, str.upper) == payload
    assert resolved(payload, RESULTS) == {"x": {"$from": "a", "$literal": 1}}


def test_references_are_found_with_their_places_and_renamed() -> None:
    payload = {"m/n": [{"content": {"$from": "a#/text"}}], "all": {"$from": "b"}}
    found, flaws = references(payload)
    assert [(each.place, each.source, each.pointer) for each in found] == [
        ("/m~1n/0/content", "a", "/text"),
        ("/all", "b", ""),
    ]
    assert not flaws
    assert renamed(payload, lambda name: f"w:{name}") == {
        "m/n": [{"content": {"$from": "w:a#/text"}}],
        "all": {"$from": "w:b"},
    }


@pytest.mark.parametrize(
    "value", [{"$from": 1}, {"$from": ""}, {"$from": "#/x"}, {"$from": "a#x"}, {"$from": "a", "b": 1}]
)
def test_what_only_looks_like_a_reference_is_a_flaw(value: dict[str, Any]) -> None:
    found, (flaw,) = references({"p": value})
    assert (found, flaw.pointer) == ([], "/p")


@given(JSON)
def test_a_payload_without_references_stays_what_it_is(payload: Any) -> None:
    if "$from" not in json.dumps(payload) and "$literal" not in json.dumps(payload):
        assert resolved(payload, RESULTS) == renamed(payload, str.upper) == payload


@pytest.mark.parametrize(
    ("loc", "concerned"),
    [(("a", "b"), True), (("a", "tag", "b", "str"), True), ((), True), (("a",), True), (("c",), False)],
)
def test_a_finding_concerns_a_reference_in_its_way(loc: tuple[str | int, ...], concerned: bool) -> None:
    assert concerns(Reference(("a", "b"), "t", ""), loc) is concerned
