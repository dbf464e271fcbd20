"""YAML text and values: the core schema of YAML 1.2, so that `no` is a text and `012` no octal number.

What is written is quoted so that readers of YAML 1.1 see the same values.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from agents.handlers.formats.values import DEPTH_MAX, NODES_MAX, Value, check_text, invalid
from domain.errors import TaskError

#: Source: YAML 1.2.2, section 10.3.2 (core schema tag resolution).
_RESOLVERS = (
    ("null", re.compile(r"~|null|Null|NULL|", re.ASCII), ["~", "n", "N", ""]),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE", re.ASCII), list("tTfF")),
    ("int", re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII), list("-+0123456789")),
    (
        "float",
        re.compile(
            r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", re.ASCII
        ),
        list("-+.0123456789"),
    ),
)
_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.CSafeLoader):
    """Composes nodes only; its values are made below, where they are bounded."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own way to declare it


class _Dumper(yaml.CSafeDumper):
    """Quotes every text that either YAML 1.1 or 1.2 would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out: anchors in a converted document would puzzle its readers."""
        return True


for _name, _pattern, _first in _RESOLVERS:
    _whole = re.compile(rf"(?:{_pattern.pattern})\Z", re.ASCII)
    _Loader.add_implicit_resolver(_TAG + _name, _whole, _first)
    _Dumper.add_implicit_resolver(_TAG + _name, _whole, _first)


def read(content: str) -> Value:
    """The value of a YAML text of one document. Keys that are numbers, booleans or null become their text.

    Raises:
        TaskError: `invalid_content`, also for several documents, tags beyond the core schema, an alias to an
            enclosing node, a key given twice, more than NODES_MAX nodes with aliases written out, or deep nesting.
    """
    check_text(content, "YAML")
    try:
        _check_events(content)
        node = yaml.compose(content, Loader=_Loader)
        return None if node is None else _Maker().make(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise _invalid(problem or "cannot be read", mark) from None
    except yaml.YAMLError as error:
        raise invalid("YAML", str(error).splitlines()[0]) from None


def write(value: Value) -> str:
    """YAML text in block style, keys in their order."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, allow_unicode=True, sort_keys=False, default_flow_style=False, width=10**6
    )
    # PyYAML marks the end of a document that is a bare scalar; every reader does without.
    return text.removesuffix("...\n")


def _check_events(content: str) -> None:
    """Composing recurses in C, where too much nesting would end the process: so it is measured before."""
    depth = 0
    for event in yaml.parse(content, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_MAX:
                raise _invalid(f"nested more than {DEPTH_MAX} levels deep", event.start_mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Maker:
    """Makes values of nodes; a node that aliases share is made anew for each use, and counted."""

    def __init__(self) -> None:
        self._nodes = 0
        self._enclosing: set[int] = set()

    def make(self, node: yaml.Node) -> Value:
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise _invalid(f"more than {NODES_MAX} nodes, aliases written out", node.start_mark)
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        if id(node) in self._enclosing:
            raise _invalid("an alias refers to a node that encloses it", node.start_mark)
        if len(self._enclosing) >= DEPTH_MAX:
            raise _invalid(f"nested more than {DEPTH_MAX} levels deep, aliases written out", node.start_mark)
        self._enclosing.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
                return [self.make(child) for child in node.value]
            if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
                return self._mapping(node)
        finally:
            self._enclosing.discard(id(node))
        raise _unknown_tag(node)

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Value]:
        value: dict[str, Value] = {}
        merged: dict[str, Value] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _invalid("a key must be a text, number, boolean or null", key_node.start_mark)
            if key_node.value == "<<" and not key_node.style:
                self._merge(merged, value_node)
                continue
            key = _key_text(key_node)
            if key in value:
                raise _invalid(f"the key {key!r} is given twice in one mapping", key_node.start_mark)
            value[key] = self.make(value_node)
        # Merged keys come first, and yield to the mapping's own. Source: yaml.org/type/merge.html
        return {**merged, **value}

    def _merge(self, merged: dict[str, Value], node: yaml.Node) -> None:
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(source, yaml.MappingNode):
                raise _invalid("<< merges mappings only", source.start_mark)
            made = self.make(source)
            assert isinstance(made, dict)
            for key, value in made.items():
                merged.setdefault(key, value)


def _scalar(node: yaml.ScalarNode) -> Value:
    text: str = node.value
    match node.tag.removeprefix(_TAG):
        case "str":
            return text
        case "null":
            return None
        case "bool" if text.lower() in ("true", "false"):
            return text.lower() == "true"
        case "int" | "float" as kind:
            return _number(node, kind)
    raise _unknown_tag(node)


def _number(node: yaml.ScalarNode, kind: str) -> int | float:
    text: str = node.value
    try:
        if kind == "int":
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        number = float(text.replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        raise _invalid(f"{text[:40]!r} is no {kind}", node.start_mark) from None
    if not math.isfinite(number):
        raise _invalid(f"{text[:40]} has no counterpart in JSON", node.start_mark)
    return number


def _key_text(node: yaml.ScalarNode) -> str:
    value = _scalar(node)
    if isinstance(value, str):
        return value
    text: str = node.value
    # `True` and `~` are written in JSON's way, so that equal keys have one text.
    return {True: "true", False: "false", None: "null"}[value] if value is None or isinstance(value, bool) else text


def _unknown_tag(node: yaml.Node) -> TaskError:
    return _invalid(f"the tag {node.tag.replace(_TAG, '!!')} has no counterpart in JSON", node.start_mark)


def _invalid(problem: str, mark: Any) -> TaskError:
    return invalid("YAML", problem) if mark is None else invalid("YAML", problem, mark.line + 1, mark.column + 1)
