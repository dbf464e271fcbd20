"""Our records in foreign hands: fastavro with nothing of ours, and the CloudEvents SDK."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import fastavro
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event

import schemas
from schemas import events
from schemas.codec import encode
from schemas.commands import CancelTask
from schemas.configuration import LimitSet
from schemas.envelope import headers, rfc3339

AT = datetime(2026, 11, 21, 9, 30, 0, 125000, tzinfo=UTC)
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
COMPLETED = events.TaskCompleted(
    task_id="order-42", occurred_at=AT, epoch=7, sequence=3, attempt=1, result='{"text":"今日"}', duration_seconds=0.5
)


def test_fastavro_and_the_schema_files_are_enough_to_read_a_record() -> None:
    record = encode(COMPLETED)
    avro = Path(schemas.__path__[0]) / "avro"
    by_fingerprint = {}
    for path in avro.glob("*.avsc"):
        schema = json.loads(path.read_text())
        canonical = fastavro.schema.to_parsing_canonical_form(schema)
        by_fingerprint[bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))] = schema

    assert record[:2] == b"\xc3\x01"
    assert fastavro.schemaless_reader(io.BytesIO(record[10:]), by_fingerprint[record[2:10]], None) == {
        "task_id": "order-42",
        "occurred_at": AT,
        "run": 1,
        "epoch": 7,
        "sequence": 3,
        "attempt": 1,
        "result": '{"text":"今日"}',
        "duration_seconds": 0.5,
        "usage": {},
    }


@pytest.mark.parametrize(
    ("message", "data_schema"),
    [
        (COMPLETED, "urn:penstock:schema:task-completed.v2"),
        (CancelTask(task_id="order-42", requested_at=AT), "urn:penstock:schema:task-cancel.v1"),
    ],
)
def test_the_cloudevents_sdk_reads_our_headers(message: events.TaskCompleted | CancelTask, data_schema: str) -> None:
    record = encode(message)
    parsed = from_binary_event(KafkaMessage(dict(headers(message, traceparent=TRACEPARENT)), b"order-42", record))

    assert parsed.get_id() == message.event_id
    assert parsed.get_source() == "/penstock"
    assert parsed.get_type() == message.TYPE
    assert parsed.get_subject() == "order-42"
    assert parsed.get_time() == AT
    assert parsed.get_dataschema() == data_schema
    assert parsed.get_datacontenttype() == "application/avro"
    assert parsed.get_data() == record


def test_a_change_of_the_configuration_is_an_event_about_what_changed() -> None:
    change = LimitSet(change_id="c", changed_at=AT, scope="model", name="gpt-4", concurrency=2)
    record = encode(change)
    parsed = from_binary_event(KafkaMessage(dict(headers(change)), b"limit/model/gpt-4", record))
    assert (parsed.get_type(), parsed.get_subject(), parsed.get_time()) == ("limit.set", "limit/model/gpt-4", AT)
    assert parsed.get_dataschema() == "urn:penstock:schema:limit-set.v1"


def test_the_trace_context_travels_as_the_w3c_header() -> None:
    assert dict(headers(COMPLETED, traceparent=TRACEPARENT))["traceparent"] == TRACEPARENT.encode()
    assert "traceparent" not in dict(headers(COMPLETED))


def test_times_in_headers_are_rfc3339_in_utc() -> None:
    assert rfc3339(datetime.fromisoformat("2026-11-21T11:30:00.000001+02:00")) == "2026-11-21T09:30:00.000001Z"
    assert rfc3339(datetime(2026, 11, 21, tzinfo=UTC)) == "2026-11-21T00:00:00Z"
