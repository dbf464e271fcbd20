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
from typing import Any

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
        self._readers: dict[bytes, tuple[str, Any]] = {}
        #: Fields that are arrays, by schema: messages are frozen, so they hold tuples.
        self._arrays: dict[str, tuple[str, ...]] = {}
        self._messages = {schema_name(message): message for message in messages}
        #: Of present versions: the message, of a value for each field of the schema.
        self._makers: dict[str, Callable[..., AnyMessage]] = {}
        self._writers: dict[type[AnyMessage], tuple[bytes, Any, tuple[str, ...], attrgetter[Any]]] = {}
        self._upcasts = upcasts
        for name, schema in schemas.items():
            parsed = fastavro.parse_schema(schema, named_schemas={})
            digest = bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))
            prefix = MARKER + digest
            if prefix in self._readers:
                # Defaults, docs and logical types are no part of the canonical form that the fingerprint is taken of.
                raise ValueError(f"{name} and {self._readers[prefix][0]} have one fingerprint: no reader can tell them")
            self._readers[prefix] = (name, parsed)
            self._arrays[name] = tuple(
                each["name"]
                for each in schema["fields"]
                if isinstance(each["type"], dict) and each["type"]["type"] == "array"
            )
            if name in self._messages:
                message = self._messages[name]
                names = field_names(message)
                if names != tuple(each["name"] for each in schema["fields"]):
                    raise ValueError(f"{name} and {message.__name__} differ in their fields or in the order of these")
                self._writers[message] = (prefix, parsed, names, attrgetter(*names))
                self._makers[name] = maker(message)

    def encode(self, message: AnyMessage) -> bytes:
        """The message as one single-object record.

        Half surrogate pairs, which UTF-8 cannot hold, become question marks: file names and foreign error texts
        may carry them, and a fact must not be lost for its wording.
        """
        prefix, schema, names, values = self._writers[type(message)]
        fields = dict(zip(names, values(message), strict=True))
        try:
            return _record(prefix, schema, fields)
        except UnicodeEncodeError:
            return _record(prefix, schema, {name: _encodable(value) for name, value in fields.items()})

    def decode(self, record: bytes) -> AnyMessage:
        """The message that a record holds, brought to its present version.

        Raises:
            UndecodableRecord: no marker, an unknown fingerprint, or a body that its schema does not fit.
        """
        prefix = record[:HEADER_BYTES]
        if not prefix.startswith(MARKER):
            raise UndecodableRecord(f"not Avro single-object encoding: it starts with {record[:2].hex()!r}, not 'c301'")
        if prefix not in self._readers:
            raise UndecodableRecord(
                f"unknown schema fingerprint {prefix[2:].hex()!r}: its schema is not in schemas/avro"
            )
        name, schema = self._readers[prefix]
        body = io.BytesIO(record[HEADER_BYTES:])
        try:
            values = fastavro.schemaless_reader(body, schema, None)
        except (EOFError, ValueError, IndexError, UnicodeDecodeError, OverflowError) as error:
            raise UndecodableRecord(f"damaged {name} record: {str(error) or type(error).__name__}") from error
        if left := body.read():
            raise UndecodableRecord(f"damaged {name} record: {len(left)} bytes follow its end")
        assert isinstance(values, dict), "every schema is a record"
        for array in self._arrays[name]:
            values[array] = tuple(values[array])
        make = self._makers.get(name)
        return make(*values.values()) if make else self._present(name, values)

    def _present(self, name: str, values: dict[str, Any]) -> AnyMessage:
        while name in self._upcasts:
            name, values = self._upcasts[name](values)
        return self._messages[name](**values)


def _record(prefix: bytes, schema: Any, fields: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    buffer.write(prefix)
    fastavro.schemaless_writer(buffer, schema, fields)
    return buffer.getvalue()


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
