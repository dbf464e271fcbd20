"""Record headers: CloudEvents 1.0 in the Kafka binary content mode, and the W3C trace context.

Source: CloudEvents 1.0.2, "Kafka Protocol Binding", section 3.2; "Distributed Tracing" extension.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

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


def headers(message: AnyMessage, *, source: str = SOURCE, traceparent: str | None = None) -> Headers:
    """Headers of one record: what any CloudEvents reader needs to tell events apart without our schemas."""
    subject, at = _about(message)
    kind, data_schema = _of_kind(type(message))  # type: ignore[arg-type]  # mypy takes a class for unhashable
    result: Headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", message.event_id.encode()),
        ("ce_source", source.encode()),
        ("ce_type", kind),
        ("ce_subject", subject.encode()),
        ("ce_time", rfc3339(at).encode()),
        ("ce_dataschema", data_schema),
        ("content-type", CONTENT_TYPE),
    ]
    if epoch := getattr(message, "epoch", 0):
        result.append((EPOCH_HEADER, str(epoch).encode()))
    if traceparent:
        result.append(("traceparent", traceparent.encode()))
    return result


@cache
def _of_kind(message: type[AnyMessage]) -> tuple[bytes, bytes]:
    """Type and schema, which all messages of a kind share."""
    return message.TYPE.encode(), f"{SCHEMA_URN}{schema_name(message)}".encode()


def _about(message: AnyMessage) -> tuple[str, datetime]:
    """What the message is about, and when it was written."""
    if isinstance(message, Change):
        return message.subject, message.changed_at
    if isinstance(message, WorkflowSubmitted):
        return message.workflow_id, message.occurred_at
    if isinstance(message, CancelTask | ChangePriority):
        return message.task_id, message.requested_at
    return message.task_id, message.occurred_at


def rfc3339(at: datetime) -> str:
    """An aware datetime as RFC 3339 in UTC, microseconds kept: `2026-11-21T09:30:00.000001Z`."""
    # Nearly all moments are in UTC already, and every record and every line of history has one.
    utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    return utc.isoformat()[: -len("+00:00")] + "Z"
