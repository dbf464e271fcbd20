"""Record headers: CloudEvents 1.0 in the Kafka binary content mode, and the W3C trace context.

Source: CloudEvents 1.0.2, "Kafka Protocol Binding", section 3.2; "Distributed Tracing" extension.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from operator import attrgetter
from typing import NamedTuple

from schemas.codec import AnyMessage, schema_name
from schemas.commands import CancelTask, ChangePriority
from schemas.configuration import Change
from schemas.workflows import WorkflowSubmitted

#: The `ce_source` of what this installation writes.
SOURCE = "/penstock"
CONTENT_TYPE = b"application/avro"
#: `ce_dataschema` must be an absolute URI; what follows is the schema's file stem in `schemas/avro/`.
SCHEMA_URN = "urn:penstock:schema:"
#: CloudEvents extension: the writer's fencing number, so that a recovery finds the highest without decoding bodies.
EPOCH_HEADER = "ce_epoch"

Headers = list[tuple[str, bytes]]

_VERSION = ("ce_specversion", b"1.0")
_CONTENT_TYPE = ("content-type", CONTENT_TYPE)


def headers(message: AnyMessage, *, source: str = SOURCE, traceparent: str | None = None) -> Headers:
    """Headers of one record: what any CloudEvents reader needs to tell events apart without our schemas."""
    kind = _of_kind(type(message))  # type: ignore[arg-type]  # mypy takes a class for unhashable
    result: Headers = [
        _VERSION,
        ("ce_id", message.event_id.encode()),
        ("ce_source", source.encode()),
        kind.type,
        ("ce_subject", kind.subject_of(message).encode()),
        ("ce_time", rfc3339(kind.moment_of(message)).encode()),
        kind.data_schema,
        _CONTENT_TYPE,
    ]
    if epoch := getattr(message, "epoch", 0):
        result.append((EPOCH_HEADER, str(epoch).encode()))
    if traceparent:
        result.append(("traceparent", traceparent.encode()))
    return result


class _Kind(NamedTuple):
    """What all messages of a kind share."""

    type: tuple[str, bytes]
    data_schema: tuple[str, bytes]
    #: What a message is about.
    subject_of: Callable[[AnyMessage], str]
    #: When it was written.
    moment_of: Callable[[AnyMessage], datetime]


@cache
def _of_kind(message: type[AnyMessage]) -> _Kind:
    if issubclass(message, Change):
        subject, moment = "subject", "changed_at"
    elif issubclass(message, WorkflowSubmitted):
        subject, moment = "workflow_id", "occurred_at"
    elif issubclass(message, CancelTask | ChangePriority):
        subject, moment = "task_id", "requested_at"
    else:
        subject, moment = "task_id", "occurred_at"
    return _Kind(
        type=("ce_type", message.TYPE.encode()),
        data_schema=("ce_dataschema", f"{SCHEMA_URN}{schema_name(message)}".encode()),
        subject_of=attrgetter(subject),
        moment_of=attrgetter(moment),
    )


def rfc3339(at: datetime) -> str:
    """An aware datetime as RFC 3339 in UTC, microseconds kept: `2026-11-21T09:30:00.000001Z`."""
    # Nearly all moments are in UTC already, and every record and every line of history has one.
    utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    return utc.isoformat()[: -len("+00:00")] + "Z"
