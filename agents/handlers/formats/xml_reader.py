"""Reads XML text into a value, by the rules of `xml_rules`. Document types and entities are refused, not expanded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

from agents.handlers.formats import xml_rules as rules
from agents.handlers.formats.values import DEPTH_MAX, Value, check_depth, check_text, invalid


def read(content: str) -> Value:
    """The value of an XML document.

    Raises:
        TaskError: `invalid_content`, also for any document type declaration, and for too much nesting.
    """
    check_text(content, "XML")
    value = _Reader().read(content)
    check_depth(value, "XML")
    return value


@dataclass(slots=True)
class _Element:
    """An element that is being read."""

    name: str
    attributes: dict[str, str]
    #: Attributes of our own namespace.
    hints: dict[str, str]
    texts: list[str] = field(default_factory=list)
    #: Name, value, and whether it is the only item of a list.
    children: list[tuple[str, Value, bool]] = field(default_factory=list)


class _Reader:
    def __init__(self) -> None:
        self._parser = expat.ParserCreate("utf-8")
        self._parser.buffer_text = True
        self._parser.ordered_attributes = True
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._open: list[_Element] = []
        self._hinted = False
        self._value: Value = None

    def read(self, content: str) -> Value:
        try:
            self._parser.Parse(content.encode(), True)
        except expat.ExpatError as error:
            raise invalid("XML", expat.ErrorString(error.code), error.lineno, error.offset + 1) from None
        return self._value

    def _refuse_doctype(self, *_: object) -> None:
        self._refuse("a document type declaration is not allowed, since its entities can be used for attacks")

    def _start(self, name: str, attribute_list: list[str]) -> None:
        if len(self._open) > DEPTH_MAX + 1:
            self._refuse(f"nested more than {DEPTH_MAX} levels deep")
        attributes = dict(zip(attribute_list[::2], attribute_list[1::2], strict=True))
        if not self._open:
            self._hinted = attributes.get(f"xmlns:{rules.PREFIX}") == rules.NAMESPACE
            if self._hinted:
                del attributes[f"xmlns:{rules.PREFIX}"]
        hints = {key: attributes.pop(key) for key in _hints(attributes)} if self._hinted else {}
        self._open.append(_Element(name, attributes, hints))

    def _text(self, text: str) -> None:
        self._open[-1].texts.append(text)

    def _end(self, name: str) -> None:
        element = self._open.pop()
        value = self._value_of(element)
        key = rules.unescape(name)
        if self._open:
            self._open[-1].children.append((key, value, element.hints.get(rules.LIST) == "true"))
        else:
            self._value = value if element.hints.get(rules.WRAPPER) == "true" else {key: value}

    def _value_of(self, element: _Element) -> Value:
        text = "".join(element.texts)
        if element.hints.get(rules.ESCAPED) == "true":
            text = rules.unescape(text)
        match element.hints.get(rules.TYPE):
            case None if not element.attributes and not element.children:
                return text
            case None | "object":
                return _object(element, text)
            case "list":
                return [value for _, value, _ in element.children]
            case kind:
                return self._scalar(kind, text)

    def _scalar(self, kind: str, text: str) -> Value:
        if kind == "null":
            return None
        try:
            value = json.loads(text, parse_constant=self._refuse)
        except ValueError:
            value = None
        if kind == "boolean" and isinstance(value, bool):
            return value
        if kind == "number" and isinstance(value, int | float) and not isinstance(value, bool):
            return value
        return self._refuse(f"{text[:40]!r} is no {kind}")

    def _refuse(self, problem: str) -> NoReturn:
        raise invalid("XML", problem, self._parser.CurrentLineNumber, self._parser.CurrentColumnNumber + 1)


def _hints(attributes: dict[str, str]) -> list[str]:
    return [key for key in attributes if key in (rules.TYPE, rules.LIST, rules.WRAPPER, rules.ESCAPED)]


def _object(element: _Element, text: str) -> dict[str, Value]:
    """Attributes, text, then children; what occurs more than once is a list in the place of its first."""
    found: dict[str, list[Value]] = {}
    only_items: set[str] = set()
    for key, value, only_item in _members(element, text):
        found.setdefault(key, []).append(value)
        if only_item:
            only_items.add(key)
    return {key: values if len(values) > 1 or key in only_items else values[0] for key, values in found.items()}


def _members(element: _Element, text: str) -> Iterator[tuple[str, Value, bool]]:
    for name, value in element.attributes.items():
        yield "@" + rules.unescape(name), value, False
    # Among elements, white space is there for the reader's eye.
    if text.strip() or (text and not element.children):
        yield rules.TEXT_KEY, text, False
    yield from element.children
