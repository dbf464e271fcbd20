"""What is written by hand is, byte for byte, what fastavro writes."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import pytest
from hypothesis import given

from schemas.avro_binary import record_writer
from schemas.codec import CODEC, HEADER_BYTES, AnyMessage, load_schemas, schema_name
from schemas.frozen import field_names
from tests.support.messages import ANY_MESSAGE

PARSED = {name: fastavro.parse_schema(schema, named_schemas={}) for name, schema in load_schemas().items()}


@given(ANY_MESSAGE)
def test_every_message_is_written_as_fastavro_writes_it(message: AnyMessage) -> None:
    fields = {name: getattr(message, name) for name in field_names(type(message))}
    expected = io.BytesIO()
    fastavro.schemaless_writer(expected, PARSED[schema_name(message)], fields)
    assert CODEC.encode(message)[HEADER_BYTES:] == expected.getvalue()


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_a_number_of_more_than_64_bits_is_refused(number: int) -> None:
    with pytest.raises(OverflowError):
        record_writer([{"name": "count", "type": "long"}])([number])


@pytest.mark.parametrize("kind", ["int", ["string", "null"], {"type": "fixed", "name": "f", "size": 2}])
def test_a_type_that_it_cannot_write_is_refused_before_anything_is_written(kind: Any) -> None:
    with pytest.raises(ValueError, match="no message has used the type"):
        record_writer([{"name": "thing", "type": kind}])


def test_each_field_needs_its_value() -> None:
    with pytest.raises(ValueError, match="zip"):
        record_writer([{"name": "count", "type": "long"}])([])
