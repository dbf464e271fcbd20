"""How each format stands for values, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.handlers.convert import Format, convert_content
from domain.errors import TaskError


def converted(source: Format, target: Format, content: str) -> str:
    return convert_content(source, target, content)


def as_value(source: Format, content: str) -> Any:
    return json.loads(convert_content(source, "json", content))


def refusal(source: Format, content: str) -> str:
    with pytest.raises(TaskError) as caught:
        convert_content(source, "json", content)
    assert caught.value.code == "invalid_content"
    assert not caught.value.retryable
    return caught.value.detail


@pytest.mark.parametrize("source", ["json", "yaml", "xml", "csv"])
@pytest.mark.parametrize("target", ["json", "yaml", "xml", "csv"])
def test_every_direction(source: Format, target: Format) -> None:
    table = json.dumps([{"name": "Ada", "born": 1815}, {"name": "Alan", "born": 1912}])
    content = converted("json", source, table)
    assert as_value(target, converted(source, target, content)) == json.loads(table)


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ('{"a": 1,\n "b": }', "line 2, column 7"),
        ("[NaN]", "NaN is not a JSON number"),
        ("[1e999]", "out of range"),
        ('{"a": 1, "a": 2}', "'a' is given twice"),
        ('"\\ud800"', "unpaired surrogate"),
        ("[" * 101 + "]" * 101, "more than 100 levels"),
        ("[" * 100_000, "nested too deep"),
        ("[" + "9" * 5000 + "]", "digits"),
    ],
)
def test_json_refuses(content: str, where: str) -> None:
    assert where in refusal("json", content)


def test_yaml_is_that_of_the_core_schema() -> None:
    text = "country: no\nmode: 0o17\nday: 2026-11-20\nversion: 1.10\nnothing: ~\n1: one\ntrue: yes\n"
    assert as_value("yaml", text) == {
        "country": "no",
        "mode": 15,
        "day": "2026-11-20",
        "version": 1.1,
        "nothing": None,
        "1": "one",
        "true": "yes",
    }


def test_yaml_merges_and_aliases_are_written_out() -> None:
    text = "base: &b {x: 1, y: 2}\none: {<<: *b, y: 3}\ntwo: *b\n"
    assert as_value("yaml", text) == {"base": {"x": 1, "y": 2}, "one": {"x": 1, "y": 3}, "two": {"x": 1, "y": 2}}


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("a: [1,\nb", "line 3, column 1"),
        ("a: 1\n---\nb: 2", "single document"),
        ("!!python/object/apply:os.system [id]", "!!python/object/apply:os.system has no counterpart"),
        ("a: !!binary aGk=", "line 1, column 4"),
        ("a: 1\na: 2", "'a' is given twice in one mapping"),
        ("? [1]\n: x", "a key must be"),
        ("a: &a [*a]", "encloses it"),
        ("a: .inf", "no counterpart in JSON"),
        ("[" * 101 + "]" * 101, "more than 100 levels"),
        ("[" * 200_000, "more than 100 levels"),
        ("a: *missing", "undefined alias"),
    ],
)
def test_yaml_refuses(content: str, where: str) -> None:
    assert where in refusal("yaml", content)


def test_a_quoted_merge_key_is_a_key() -> None:
    assert as_value("yaml", '"<<": {x: 1}') == {"<<": {"x": 1}}


def test_yaml_aliases_cannot_grow_without_bound() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "more than 1000000 nodes" in refusal("yaml", "\n".join(lines))


def test_xml_elements_attributes_text_and_lists() -> None:
    text = '<order id="7"><item>tea</item><item>milk</item><note lang="en">soon</note><empty/></order>'
    assert as_value("xml", text) == {
        "order": {"@id": "7", "item": ["tea", "milk"], "note": {"@lang": "en", "#text": "soon"}, "empty": ""}
    }


def test_xml_of_others_reads_as_text_and_keeps_its_namespaces() -> None:
    text = '<a:x xmlns:a="urn:a" xmlns="urn:d"><a:n>42</a:n><!-- gone --><m><![CDATA[<raw>]]></m></a:x>'
    value = as_value("xml", text)
    assert value == {"a:x": {"@xmlns:a": "urn:a", "@xmlns": "urn:d", "a:n": "42", "m": "<raw>"}}
    assert as_value("xml", converted("xml", "xml", text)) == value


def test_xml_says_types_only_where_they_would_be_lost() -> None:
    plain = converted("json", "xml", '{"a": {"b": "text", "@c": "attribute", "d": ["x", "y"]}}')
    assert "json:" not in plain
    typed = converted("json", "xml", '{"a": {"n": 1, "none": null, "one": ["x"]}}')
    assert '<n json:type="number">1</n>' in typed
    assert '<none json:type="null"/>' in typed
    assert '<one json:list="true">x</one>' in typed


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("<a>\n<b></a>", "line 2, column 6: mismatched tag"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "document type declaration"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "document type declaration"),
        ("<a>&x;</a>", "undefined entity"),
        ("<a>" * 200, "more than 100 levels"),
        ('<a xmlns:json="urn:penstock:json" json:type="number">x</a>', "is no number"),
        ("", "no element found"),
    ],
)
def test_xml_refuses(content: str, where: str) -> None:
    assert where in refusal("xml", content)


def test_csv_types_only_what_writes_back_the_same() -> None:
    text = "a,b,c,d,e,f,g\r\n42,007,1.50,1e5,true,,[1]\r\n"
    assert as_value("csv", text) == [{"a": 42, "b": "007", "c": "1.50", "d": "1e5", "e": True, "f": "", "g": [1]}]
    assert converted("csv", "csv", text) == text


def test_csv_of_records_with_unlike_keys_has_every_column() -> None:
    assert converted("json", "csv", '[{"a": 1}, {"b": {"c": [2]}}]') == 'a,b\r\n1,\r\n,"{""c"": [2]}"\r\n'


def test_csv_looks_through_wrappers_for_its_records() -> None:
    assert converted("xml", "csv", "<r><o><n>1</n></o><o><n>x</n></o></r>").splitlines() == ["n", '"""1"""', "x"]
    assert converted("json", "csv", '{"a": 1, "b": "x"}') == "a,b\r\n1,x\r\n"
    assert converted("json", "csv", "[1, null]") == "value\r\n1\r\nnull\r\n"
    assert converted("json", "csv", "[]") == ""


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("a,b\n1,2\n1,2,3\n", "line 3: 3 cells, but the header has 2"),
        ("a,b\n1\n", "line 2: 1 cells"),
        ("a,a\n1,2\n", "'a' is named twice"),
        ('a\n"x" y\n', "line 2"),
    ],
)
def test_csv_refuses(content: str, where: str) -> None:
    assert where in refusal("csv", content)


def test_a_result_that_grew_too_long_is_refused() -> None:
    deep = "[" * 90 + "]" * 90
    with pytest.raises(TaskError) as caught:
        convert_content("json", "json", "[" + ",".join([deep] * 2000) + "]")
    assert caught.value.code == "result_too_large"
