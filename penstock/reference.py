"""Fill the generated parts of docs/: `python -m penstock.reference [--check]`.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`; the rest is written by hand.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from domain import states
from domain.states import ACTIVE, STATE_AFTER, STATE_KEPT, TERMINAL, TRANSITIONS, WAITING, TaskStatus
from domain.strategies import choice
from penstock.settings import DEFAULT_CLASSES
from schemas.codec import AVRO_DIRECTORY, MESSAGES, load_schemas, schema_name
from streams.topics import DAY_MS, FOREVER_MS, SHARED, Topic, of_class

DOCS = Path(__file__).parents[1] / "docs"
EXAMPLES = AVRO_DIRECTORY.parent / "examples"
PART = re.compile(r"(?P<begin><!-- generated: (?P<name>[a-z-]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)
STATE_MEANING = re.compile(r'#: (?P<meaning>.+)\n    [A-Z_]+ = "(?P<state>\w+)"')


def state_table() -> Iterator[str]:
    """Each state, and who moves a task on from it, as `domain.states` says it."""
    source = Path(states.__file__).read_text()
    meanings = {match["state"]: match["meaning"] for match in STATE_MEANING.finditer(source)}
    groups = {"waiting": WAITING, "active": ACTIVE, "terminal": TERMINAL}
    yield "| state | group | meaning |"
    yield "|---|---|---|"
    for state in TaskStatus:
        group = next(name for name, members in groups.items() if state in members)
        yield f"| `{state}` | {group} | {meanings[state]} |"


def diagram() -> Iterator[str]:
    """The table of moves as a Mermaid state diagram."""
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {TaskStatus.SUBMITTED}: submitted"
    for state, moves in TRANSITIONS.items():
        arrows: defaultdict[TaskStatus, list[str]] = defaultdict(list)
        for event_type, after in moves.items():
            arrows[after].append(event_type.removeprefix("task."))
        yield from (f"    {state} --> {after}: {', '.join(types)}" for after, types in arrows.items())
        if not moves or state in TERMINAL:
            yield f"    {state} --> [*]"
    yield "```"


def move_table() -> Iterator[str]:
    """Each event, the state that it leads to, and the states that it may follow."""
    yield "| event | leads to | may follow |"
    yield "|---|---|---|"
    leads_to = {event_type: f"`{after}`" for event_type, after in STATE_AFTER.items()}
    leads_to |= dict.fromkeys(sorted(STATE_KEPT), "the same state")
    for event_type, after in leads_to.items():
        before = [f"`{state}`" for state, moves in TRANSITIONS.items() if event_type in moves]
        yield f"| `{event_type}` | {after} | {', '.join(before)} |"


def message_sections() -> Iterator[str]:
    """Every event and command: what it says, its fields, and one real-looking message."""
    schemas = load_schemas()
    for message in MESSAGES:
        name = schema_name(message)
        schema = schemas[name]
        yield f"### `{message.TYPE}`\n\n{schema['doc']}\n\nSchema: `schemas/avro/{name}.avsc`\n"
        yield "| field | type | default | meaning |"
        yield "|---|---|---|---|"
        for field in schema["fields"]:
            default = f"`{json.dumps(field['default'])}`" if "default" in field else ""
            yield f"| `{field['name']}` | {_type(field['type'])} | {default} | {field.get('doc', '')} |"
        example = min((EXAMPLES / name).glob("*.json"))
        yield f"\n```json\n{example.read_text().rstrip()}\n```\n"


def topic_table() -> Iterator[str]:
    """Every topic of an installation with the built-in classes."""
    yield "| topic | key | partitions | kept | holds | written by | read by |"
    yield "|---|---|---|---|---|---|---|"
    yield from map(_topic_row, SHARED)
    for name, settings in DEFAULT_CLASSES.items():
        yield from map(_topic_row, of_class(name, settings.shards))


def _topic_row(topic: Topic) -> str:
    kept = "for ever" if topic.retention_ms == FOREVER_MS else f"{topic.retention_ms // DAY_MS} d"
    cells = (f"`{topic.name}`", topic.key, str(topic.partitions), kept, topic.holds)
    return f"| {' | '.join((*cells, ', '.join(topic.producers), ', '.join(topic.consumers)))} |"


def _type(kind: Any) -> str:
    if isinstance(kind, list):
        return " or ".join(_type(each) for each in kind)
    if not isinstance(kind, dict):
        return str(kind)
    match kind["type"]:
        case "array":
            return f"array of {_type(kind['items'])}"
        case "map":
            return f"map of {_type(kind['values'])}"
        case _:
            return str(kind["logicalType"])


def strategy_table() -> Iterator[str]:
    """Every strategy, and every option with its default."""
    yield "| strategy | starts next |"
    yield "|---|---|"
    yield from (f"| `{name}` | {does} |" for name, does in choice.NAMES.items())
    defaults = ", ".join(f"`{each.name}` ({_default(each)})" for each in fields(choice.Options))
    yield f"\nOptions with their defaults: {defaults}. A strategy ignores those that are none of its business."


def _default(option: Field[Any]) -> str:
    return "by `cost`" if option.default is None else str(option.default)


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "states": state_table,
    "diagram": diagram,
    "moves": move_table,
    "messages": message_sections,
    "topics": topic_table,
    "strategies": strategy_table,
}


def filled(text: str) -> str:
    """A document with its generated parts as the code has them now.

    Raises: KeyError for a part that nobody generates.
    """
    return PART.sub(lambda part: part["begin"] + "\n".join(PARTS[part["name"]]()) + "\n" + part["end"], text)


def main(arguments: list[str]) -> int:
    """Write the documents, or with `--check` say which are out of date; the exit status."""
    stale = {path: new for path in sorted(DOCS.rglob("*.md")) if (new := filled(old := path.read_text())) != old}
    for path, text in stale.items():
        if "--check" in arguments:
            print(f"docs/{path.relative_to(DOCS)} is out of date; run `make docs`")
        else:
            path.write_text(text)
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
