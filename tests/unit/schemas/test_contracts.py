"""What the log's readers rely on: every message has a schema and examples, and neither changes once it is out."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from fastavro.schema import to_parsing_canonical_form

from schemas.codec import AVRO_DIRECTORY, CODEC, MESSAGES, AnyMessage, schema_name
from schemas.events import TASK_EVENTS
from schemas.frozen import field_names
from schemas.upcasts import UPCASTS
from tests.support import examples

FINGERPRINTS = AVRO_DIRECTORY / "fingerprints.json"
PRESENT = {schema_name(message): message for message in MESSAGES}


def fingerprints(schema: dict[str, Any]) -> dict[str, str]:
    """What a schema is known by: to readers of records, and to this test, which minds defaults too but not docs."""
    return {
        "crc-64-avro": examples.crc_64_avro(to_parsing_canonical_form(schema)).hex(),
        "sha-256-without-docs": hashlib.sha256(json.dumps(without_docs(schema)).encode()).hexdigest(),
    }


def without_docs(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: without_docs(value) for key, value in part.items() if key != "doc"}
    return [without_docs(item) for item in part] if isinstance(part, list) else part


@pytest.mark.parametrize("message", MESSAGES, ids=schema_name)
def test_schema_and_dataclass_have_the_same_fields_in_the_same_order(message: type[AnyMessage]) -> None:
    schema = examples.SCHEMAS[schema_name(message)]
    assert tuple(field["name"] for field in schema["fields"]) == field_names(message)
    assert schema["name"] == message.__name__


def test_every_schema_is_present_or_can_be_up_cast() -> None:
    assert set(examples.SCHEMAS) == set(PRESENT) | set(UPCASTS)


def test_wire_types_are_unique() -> None:
    assert len({message.TYPE for message in MESSAGES}) == len(MESSAGES)
    assert all(event.TYPE.startswith("task.") for event in TASK_EVENTS)


@pytest.mark.parametrize("name", sorted(examples.SCHEMAS))
def test_no_published_schema_was_edited(name: str) -> None:
    published = json.loads(FINGERPRINTS.read_text())
    stem, _, version = name.rpartition(".v")
    assert fingerprints(examples.SCHEMAS[name]) == published.get(name), (
        f"{name}.avsc differs from what was published. Records in old logs need it as it was: put it back, "
        f"add {stem}.v{int(version) + 1}.avsc with an up-cast in schemas/upcasts.py, raise VERSION, "
        f"and add the new schema's line to {FINGERPRINTS.name}."
    )


def test_no_published_schema_was_removed() -> None:
    assert set(json.loads(FINGERPRINTS.read_text())) == set(examples.SCHEMAS)


def test_every_schema_has_an_example_and_every_example_a_schema() -> None:
    assert {path.parent.name for path in examples.PATHS} == set(examples.SCHEMAS)


def test_examples_holds_nothing_else() -> None:
    found = {path for path in examples.EXAMPLES.rglob("*") if path.is_file()}
    assert found == set(examples.PATHS)


def test_schema_folder_holds_nothing_else() -> None:
    expected = {f"{name}.avsc" for name in examples.SCHEMAS} | {FINGERPRINTS.name}
    assert {path.name for path in AVRO_DIRECTORY.iterdir()} == expected


@pytest.mark.parametrize("path", examples.PATHS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_example_names_every_field(path: Path) -> None:
    name, fields = examples.load(path)
    assert list(fields) == [field["name"] for field in examples.SCHEMAS[name]["fields"]]


@pytest.mark.parametrize("path", examples.PATHS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_example_decodes_under_todays_reader(path: Path) -> None:
    name, fields = examples.load(path)
    message = CODEC.decode(examples.record(name, fields))
    assert CODEC.decode(CODEC.encode(message)) == message
    if name in PRESENT:
        expected = examples.values(name, fields)
        assert {field: getattr(message, field) for field in field_names(type(message))} == expected


@pytest.mark.parametrize("path", examples.PATHS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_example_at_its_present_version_encodes_to_the_very_bytes_of_fastavro(path: Path) -> None:
    name, fields = examples.load(path)
    if name in UPCASTS:
        pytest.skip("an old version is only read")
    message = PRESENT[name](**examples.values(name, fields))
    assert CODEC.encode(message) == examples.record(name, fields)
