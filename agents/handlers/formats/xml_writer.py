"""Writes a value as XML text, by the rules of `xml_rules`; `xml_reader.read` gives the very same value again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

from agents.handlers.formats import xml_rules as rules
from agents.handlers.formats.values import Value

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
#: A parser would turn these into line feeds or spaces.
_KEEP_IN_TEXT = {"\r": "&#13;"}
_KEEP_IN_ATTRIBUTE = {"\r": "&#13;", "\n": "&#10;", "\t": "&#9;"}


def write(value: Value) -> str:
    """An XML document, indented by two spaces where that changes nothing."""
    writer = _Writer()
    if isinstance(value, dict) and len(value) == 1 and not isinstance(inner := next(iter(value.values())), list):
        writer.element(next(iter(value)), inner, {}, rules.PREFIXES, "\n")
    else:
        writer.element(rules.ROOT_NAME, value, {rules.WRAPPER: "true"}, rules.PREFIXES, "\n")
    return _DECLARATION + writer.document()


@dataclass(slots=True)
class _Parts:
    """An object as its element shows it."""

    attributes: dict[str, str] = field(default_factory=dict)
    text: str = ""
    children: dict[str, Value] = field(default_factory=dict)


class _Writer:
    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._root_end = 0
        self._hinted = False

    def document(self) -> str:
        """All that was written, the namespace of the hints declared at the root if there are any."""
        if self._hinted:
            self._pieces.insert(self._root_end, f' xmlns:{rules.PREFIX}="{rules.NAMESPACE}"')
        return "".join(self._pieces).lstrip("\n") + "\n"

    def element(self, key: str, value: Value, hints: Mapping[str, str], prefixes: frozenset[str], newline: str) -> None:
        """One element, begun with `newline`: a line feed and the indentation, or nothing within text."""
        if isinstance(value, dict):
            self._object_element(key, value, hints, prefixes, newline)
        elif isinstance(value, list):
            name = rules.encode_name(key, prefixes)
            self._start(name, {}, {**hints, rules.TYPE: "list"}, newline, empty=not value)
            inner = newline and newline + "  "
            for item in value:
                self.element(rules.ITEM_NAME, item, {}, prefixes, inner)
            self._end(name, newline if value else "", empty=not value)
        else:
            self._scalar_element(rules.encode_name(key, prefixes), value, hints, newline)

    def _scalar_element(
        self, name: str, value: bool | float | str | None, hints: Mapping[str, str], newline: str
    ) -> None:
        text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
        kind = _kind(value)
        text, hints = _escaped(text, {**hints, rules.TYPE: kind} if kind else hints)
        self._start(name, {}, hints, newline, empty=not text)
        self._pieces.append(text)
        self._end(name, "", empty=not text)

    def _object_element(
        self, key: str, value: dict[str, Value], hints: Mapping[str, str], prefixes: frozenset[str], newline: str
    ) -> None:
        declared = {rules.declared_prefix(name, inner) for name, inner in value.items()} - {None}
        prefixes = prefixes | {prefix for prefix in declared if prefix is not None}
        parts = _split(value, prefixes)
        if not parts.attributes and not parts.children:
            hints = {**hints, rules.TYPE: "object"}
        text, hints = _escaped(parts.text, hints)
        name = rules.encode_name(key, prefixes)
        empty = not text and not parts.children
        self._start(name, parts.attributes, hints, newline, empty=empty)
        self._pieces.append(text)
        # Text beside elements: any white space between them would become part of it.
        inner = newline + "  " if newline and not text else ""
        for child_key, child in parts.children.items():
            self._child(child_key, child, prefixes, inner)
        self._end(name, newline if parts.children and not text else "", empty=empty)

    def _child(self, key: str, value: Value, prefixes: frozenset[str], newline: str) -> None:
        if not isinstance(value, list) or not value:
            self.element(key, value, {}, prefixes, newline)
            return
        hints = {rules.LIST: "true"} if len(value) == 1 else {}
        for item in value:
            self.element(key, item, hints, prefixes, newline)

    def _start(
        self, name: str, attributes: Mapping[str, str], hints: Mapping[str, str], newline: str, *, empty: bool
    ) -> None:
        self._pieces.append(f"{newline}<{name}")
        if not self._root_end:
            self._root_end = len(self._pieces)
        self._hinted = self._hinted or bool(hints)
        for attribute, text in {**attributes, **hints}.items():
            self._pieces.append(f" {attribute}={quoteattr(text, _KEEP_IN_ATTRIBUTE)}")
        self._pieces.append("/>" if empty else ">")

    def _end(self, name: str, newline: str, *, empty: bool) -> None:
        self._pieces.append("" if empty else f"{newline}</{name}>")


def _split(value: Mapping[str, Value], prefixes: frozenset[str]) -> _Parts:
    parts = _Parts()
    text: str | None = None
    for key, inner in value.items():
        if key == rules.TEXT_KEY and isinstance(inner, str) and inner:
            text = inner
        elif isinstance(inner, str) and _is_attribute(key, inner):
            parts.attributes[rules.encode_name(key[1:], prefixes | {"xmlns"})] = inner
        else:
            parts.children[key] = inner
    if text is not None and parts.children and not text.strip():
        parts.children[rules.TEXT_KEY] = text
    else:
        parts.text = text or ""
    return parts


def _is_attribute(key: str, value: str) -> bool:
    if not key.startswith("@") or rules.has_forbidden(value):
        return False
    return not key.startswith("@xmlns:") or rules.declared_prefix(key, value) is not None


def _escaped(text: str, hints: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    if rules.has_forbidden(text):
        return escape(rules.escape_forbidden(text), _KEEP_IN_TEXT), {**hints, rules.ESCAPED: "true"}
    return escape(text, _KEEP_IN_TEXT), hints


def _kind(value: bool | float | str | None) -> str | None:
    if isinstance(value, str):
        return None
    if value is None:
        return "null"
    return "boolean" if isinstance(value, bool) else "number"
