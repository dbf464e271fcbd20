"""The messages in `schemas/examples/`: one folder a schema, one readable JSON file a message.

Times are RFC 3339; bytes that hold a record are written as that record: `{"task-submitted.v1": {...}}`.
"""

from __future__ import annotations

import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import fastavro

from schemas.codec import AVRO_DIRECTORY, MARKER, load_schemas

EXAMPLES = AVRO_DIRECTORY.parent / "examples"
SCHEMAS = load_schemas()
PATHS = sorted(EXAMPLES.glob("*/*.json"))


def crc_64_avro(text: str) -> bytes:
    """The fingerprint of a canonical schema as the specification's own pseudo-code computes it, little-endian.

    Source: Apache Avro 1.12 specification, "Schema fingerprints".
    """
    empty = 0xC15D213AA4D7A795
    table = []
    for i in range(256):
        entry = i
        for _ in range(8):
            entry = (entry >> 1) ^ (empty & -(entry & 1))
        table.append(entry)
    result = empty
    for byte in text.encode():
        result = (result >> 8) ^ table[(result ^ byte) & 0xFF]
    return result.to_bytes(8, "little")


def values(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of an example as Avro takes them."""
    kinds = {field["name"]: json.dumps(field["type"]) for field in SCHEMAS[name]["fields"]}
    return {field: _value(kinds.get(field, ""), value) for field, value in fields.items()}


def record(name: str, fields: dict[str, Any]) -> bytes:
    """An example as a record, written with fastavro alone and the schema's own version."""
    schema = SCHEMAS[name]
    buffer = io.BytesIO()
    buffer.write(MARKER + crc_64_avro(fastavro.schema.to_parsing_canonical_form(schema)))
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema, named_schemas={}), values(name, fields))
    return buffer.getvalue()


def load(path: Path) -> tuple[str, dict[str, Any]]:
    """Schema name and fields of an example."""
    fields: dict[str, Any] = json.loads(path.read_text())
    return path.parent.name, fields


def _value(kind: str, value: Any) -> Any:
    if isinstance(value, str) and "timestamp-micros" in kind:
        return datetime.fromisoformat(value)
    if isinstance(value, dict) and "bytes" in kind:
        ((name, fields),) = value.items()
        return record(name, fields)
    if isinstance(value, list):
        return tuple(value)
    return value
