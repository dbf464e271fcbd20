"""How values and XML stand for each other, and the names and characters that XML has no room for.

A key is an element, `@key` with a text an attribute, `#text` an element's own text, a list the same element again and
again. An object with a single key becomes the document; anything else is wrapped in `<root>`. What plain XML would
lose is said by attributes in a namespace of ours, `xmlns:json="urn:penstock:json"`, only where it is needed:

* `json:type` is `number`, `boolean`, `null`, `object` (one that would read as text) or `list` (its items are the
  child elements: an empty list, or a list within a list);
* `json:list="true"` marks the item of a list that has only one;
* `json:wrapper="true"` marks a root element that the value does not have;
* `json:escaped="true"` says that the text holds characters which XML forbids, as `_xHHHH_`.

Without them everything reads as text: `<id>42</id>` is `{"id": "42"}`, and an empty element is an empty text.
Names that XML forbids are written with `_xHHHH_` for each character, and `_x_` for the empty name.

Source: Extensible Markup Language 1.0, sections 2.2 and 2.3; Namespaces in XML 1.0; the escapes are those of
ISO/IEC 9075-14, as spreadsheets write them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from xml.parsers import expat

NAMESPACE = "urn:penstock:json"
PREFIX = "json"
TYPE = f"{PREFIX}:type"
LIST = f"{PREFIX}:list"
WRAPPER = f"{PREFIX}:wrapper"
ESCAPED = f"{PREFIX}:escaped"
#: Name of an element that stands for a value without a key.
ROOT_NAME = "root"
ITEM_NAME = "item"
TEXT_KEY = "#text"
#: Prefixes that every document may use.
PREFIXES = frozenset({"xml"})
#: Namespaces that no document may declare anew.
_RESERVED_NAMESPACES = ("http://www.w3.org/XML/1998/namespace", "http://www.w3.org/2000/xmlns/", "")

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPE = re.compile(r"_x([0-9A-F]{4,6})?_")
#: An underscore that a reader would take for the start of an escape.
_FALSE_ESCAPE = re.compile(r"_(?=x(?:[0-9A-F]{4,6})?_)")


def has_forbidden(text: str) -> bool:
    """Whether XML cannot hold the text, not even by a character reference."""
    return _FORBIDDEN.search(text) is not None


def escape_forbidden(text: str) -> str:
    """The text with `_xHHHH_` for what XML forbids; `unescape` undoes it."""
    return _FORBIDDEN.sub(lambda match: _escape(match[0]), _FALSE_ESCAPE.sub("_x005F_", text))


def unescape(text: str) -> str:
    """The text or name that was escaped."""
    return _ESCAPE.sub(lambda match: _unescape(match), text)


def encode_name(key: str, prefixes: frozenset[str]) -> str:
    """The key as the name of an element or attribute where these namespace prefixes are declared."""
    prefix, colon, local = key.partition(":")
    if colon and prefix in prefixes and local and ":" not in local:
        return f"{prefix}:{_encode_local(local)}"
    return _encode_local(key)


def declared_prefix(key: str, value: object) -> str | None:
    """The prefix that the pair declares, as `"@xmlns:p": "urn:x"` declares `p`; None if it declares none."""
    prefix = key.removeprefix("@xmlns:")
    if prefix == key or not isinstance(value, str) or value in _RESERVED_NAMESPACES or has_forbidden(value):
        return None
    usable = prefix not in ("xml", "xmlns", PREFIX) and _encode_local(prefix) == prefix
    return prefix if usable else None


def _encode_local(name: str) -> str:
    if not name:
        return "_x_"
    name = _FALSE_ESCAPE.sub("_x005F_", name)
    first = name[0] if _starts_name(name[0]) else _escape(name[0])
    return first + "".join(c if _continues_name(c) else _escape(c) for c in name[1:])


@lru_cache(maxsize=8192)
def _starts_name(character: str) -> bool:
    return character != ":" and _parses(f"<{character}/>")


@lru_cache(maxsize=8192)
def _continues_name(character: str) -> bool:
    return character not in ":/ \t\r\n" and _parses(f"<a{character}/>")


def _parses(document: str) -> bool:
    """Asks the parser, whose tables are those of an older edition and narrower than today's."""
    try:
        expat.ParserCreate("utf-8").Parse(document.encode(), True)
    except (expat.ExpatError, UnicodeEncodeError):
        return False
    return True


def _escape(character: str) -> str:
    return f"_x{ord(character):04X}_"


def _unescape(match: re.Match[str]) -> str:
    if match[1] is None:
        return "" if match[0] == match.string else match[0]
    code = int(match[1], 16)
    return match[0] if code > 0x10FFFF or 0xD800 <= code < 0xE000 else chr(code)
