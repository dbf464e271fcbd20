"""Messages to and from bytes: Avro single-object encoding, which needs no registry server.

A record is `C3 01`, the little-endian CRC-64-AVRO fingerprint of its writer's schema, and the Avro body.
Any writer schema in `schemas/avro/` can be read, however old; up-casts bring it to the present message.

Source: Apache Avro 1.12 specification, "Single-object encoding" and "Schema fingerprints".
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from schemas.commands import TASK_COMMANDS, TaskCommand
from schemas.configuration import CONFIGURATION_EVENTS, Change, ConfigurationEvent
from schemas.events import TASK_EVENTS, TaskEvent, TaskSubmitted
from schemas.frozen import field_names, maker
from schemas.upcasts import UPCASTS, Upcast
from schemas.workflows import WorkflowSubmitted

MARKER = b"\xc3\x01"
HEADER_BYTES = 10
AVRO_DIRECTORY = Path(__file__).parent / "avro"

#: What task topics carry.
Message = TaskEvent | TaskCommand
#: What any topic carries.
AnyMessage = Message | ConfigurationEvent | WorkflowSubmitted
MESSAGES: tuple[type[AnyMessage], ...] = (*TASK_EVENTS, *TASK_COMMANDS, *CONFIGURATION_EVENTS, WorkflowSubmitted)


class UndecodableRecord(ValueError):
    """The bytes are not a message that any schema in `schemas/avro/` describes; the text says what is wrong."""


def schema_name(message: type[AnyMessage] | AnyMessage) -> str:
    """File stem of a message's schema: `task-attempt-lost.v1`."""
    return f"{message.TYPE.replace('.', '-').replace('_', '-')}.v{message.VERSION}"


class Codec:
    """Encodes the present version of each message; decodes every version that has a schema."""

    def __init__(
        self,
        schemas: Mapping[str, dict[str, Any]],
        messages: Iterable[type[AnyMessage]],
        upcasts: Mapping[str, Upcast],
    ) -> None:
        self._readers: dict[bytes, _Reader] = {}
        self._messages = {schema_name(message): message for message in messages}
        self._writers: dict[type[AnyMessage], _Writer] = {}
        self._upcasts = upcasts
        for name, schema in schemas.items():
            digest = bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))
            prefix = MARKER + digest
            if (other := self._readers.get(prefix)) is not None:
                # Defaults, docs and logical types are no part of the canonical form that the fingerprint is taken of.
                raise ValueError(f"{name} and {other.name} have one fingerprint: no reader can tell them")
            message = self._messages.get(name)
            self._readers[prefix] = _reader(name, schema, message)
            if message is not None:
                self._writers[message] = _writer(name, schema, prefix, message)

    def encode(self, message: AnyMessage) -> bytes:
        """The message as one single-object record.

        Half surrogate pairs, which UTF-8 cannot hold, become question marks: file names and foreign error texts
        may carry them, and a fact must not be lost for its wording.
        """
        prefix, schema, names, values_of = self._writers[type(message)]
        values = dict(zip(names, values_of(message), strict=True))
        try:
            return _record(prefix, schema, values)
        except UnicodeEncodeError:
            return _record(prefix, schema, {name: _encodable(value) for name, value in values.items()})

    def decode(self, record: bytes) -> AnyMessage:
        """The message that a record holds, brought to its present version.

        Raises:
            UndecodableRecord: no marker, an unknown fingerprint, or a body that its schema does not fit.
        """
        reader = self._readers.get(record[:HEADER_BYTES])
        if reader is None:
            raise UndecodableRecord(_unknown(record))
        name, schema, arrays, make = reader
        body = io.BytesIO(record)
        body.seek(HEADER_BYTES)
        try:
            values: dict[str, Any] = fastavro.schemaless_reader(body, schema, None)  # type: ignore[assignment]
        except (EOFError, ValueError, IndexError, UnicodeDecodeError, OverflowError) as error:
            raise UndecodableRecord(f"damaged {name} record: {str(error) or type(error).__name__}") from error
        if left := len(record) - body.tell():
            raise UndecodableRecord(f"damaged {name} record: {left} bytes follow its end")
        for array in arrays:
            values[array] = tuple(values[array])
        return make(*values.values()) if make else self._present(name, values)

    def _present(self, name: str, values: dict[str, Any]) -> AnyMessage:
        while name in self._upcasts:
            name, values = self._upcasts[name](values)
        return self._messages[name](**values)


class _Reader(NamedTuple):
    """How records of one schema are read."""

    name: str
    schema: Any
    #: Fields that are arrays: messages are frozen, so they hold tuples.
    arrays: tuple[str, ...]
    #: The message, of a value for each field of the schema; None for an old version.
    make: Callable[..., AnyMessage] | None


class _Writer(NamedTuple):
    """How messages of one type are written."""

    prefix: bytes
    schema: Any
    names: tuple[str, ...]
    values_of: Callable[[AnyMessage], tuple[Any, ...]]


def _reader(name: str, schema: dict[str, Any], message: type[AnyMessage] | None) -> _Reader:
    arrays = tuple(
        each["name"] for each in schema["fields"] if isinstance(each["type"], dict) and each["type"]["type"] == "array"
    )
    parsed = fastavro.parse_schema(schema, named_schemas={})
    return _Reader(name, parsed, arrays, None if message is None else maker(message))


def _writer(name: str, schema: dict[str, Any], prefix: bytes, message: type[AnyMessage]) -> _Writer:
    names = field_names(message)
    if names != tuple(each["name"] for each in schema["fields"]):
        raise ValueError(f"{name} and {message.__name__} differ in their fields or in the order of these")
    return _Writer(prefix, fastavro.parse_schema(schema, named_schemas={}), names, attrgetter(*names))


def _record(prefix: bytes, schema: Any, values: dict[str, Any]) -> bytes:
    body = io.BytesIO()
    body.write(prefix)
    fastavro.schemaless_writer(body, schema, values)
    return body.getvalue()


def _unknown(record: bytes) -> str:
    if not record.startswith(MARKER):
        return f"not Avro single-object encoding: it starts with {record[:2].hex()!r}, not 'c301'"
    return f"unknown schema fingerprint {record[2:HEADER_BYTES].hex()!r}: its schema is not in schemas/avro"


def _encodable(value: Any) -> Any:
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def load_schemas(directory: Path = AVRO_DIRECTORY) -> dict[str, dict[str, Any]]:
    """All schemas, by file stem, such as `task-submitted.v1`."""
    return {path.name.removesuffix(".avsc"): json.loads(path.read_text()) for path in sorted(directory.glob("*.avsc"))}


CODEC = Codec(load_schemas(), MESSAGES, UPCASTS)


def encode(message: AnyMessage) -> bytes:
    """See `Codec.encode`, with the published schemas."""
    return CODEC.encode(message)


def decode(record: bytes) -> Message:
    """See `Codec.decode`, with the published schemas; for topics that carry tasks.

    Raises:
        UndecodableRecord: also for a change of the configuration, which has no place there.
    """
    message = CODEC.decode(record)
    if isinstance(message, Change):
        raise UndecodableRecord(f"{message.TYPE} is a change of the configuration, not a message about a task")
    if isinstance(message, WorkflowSubmitted):
        raise UndecodableRecord(f"{message.TYPE} belongs on tasks-intake: its tasks are made of it there")
    return message


def decode_submission(record: bytes) -> TaskSubmitted | WorkflowSubmitted:
    """See `Codec.decode`, with the published schemas; for tasks-intake.

    Raises:
        UndecodableRecord: also for a message that asks for no task.
    """
    message = CODEC.decode(record)
    if not isinstance(message, TaskSubmitted | WorkflowSubmitted):
        raise UndecodableRecord(f"expected {TaskSubmitted.TYPE} or {WorkflowSubmitted.TYPE}, found {message.TYPE}")
    return message


def decode_change(record: bytes) -> ConfigurationEvent:
    """See `Codec.decode`, with the published schemas; for the topic of the registry.

    Raises:
        UndecodableRecord: also for a message about a task, which has no place there.
    """
    message = CODEC.decode(record)
    if not isinstance(message, Change):
        raise UndecodableRecord(f"{message.TYPE} is a message about a task, not a change of the configuration")
    return message
