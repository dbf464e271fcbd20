"""Records: what we write, what we read, and what we refuse."""

import io
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar, cast

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import events
from schemas.codec import (
    CODEC,
    HEADER_BYTES,
    MARKER,
    MESSAGES,
    AnyMessage,
    Codec,
    UndecodableRecord,
    decode,
    decode_change,
    encode,
    load_schemas,
)
from schemas.configuration import LimitSet
from tests.support.examples import crc_64_avro
from tests.support.messages import ANY_MESSAGE

AT = datetime(2026, 11, 21, 9, 30, 0, 125000, tzinfo=UTC)
QUEUED = events.TaskQueued(task_id="t", occurred_at=AT, epoch=7, sequence=1)
FAILED = events.TaskFailed(task_id="t", occurred_at=AT, error_code="x", error_detail="y")
PREFIXES = [
    MARKER + crc_64_avro(fastavro.schema.to_parsing_canonical_form(schema)) for schema in load_schemas().values()
]


@given(ANY_MESSAGE)
def test_what_is_encoded_decodes_to_the_same_message(message: AnyMessage) -> None:
    assert CODEC.decode(CODEC.encode(message)) == message


def test_another_time_zone_is_the_same_moment() -> None:
    there = AT.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert decode(encode(replace(QUEUED, occurred_at=there))) == QUEUED


def test_times_come_back_aware_in_utc() -> None:
    fact = decode(encode(QUEUED))
    assert isinstance(fact, events.TaskQueued)
    assert fact.occurred_at.utcoffset() == timedelta(0)


def test_half_a_surrogate_pair_does_not_lose_the_fact() -> None:
    """`os.fsdecode` makes such text of file names that are not UTF-8, and error texts quote them."""
    fact = decode(encode(replace(FAILED, error_detail="cannot open caf\udce9.mp4")))
    assert isinstance(fact, events.TaskFailed)
    assert fact.error_detail == "cannot open caf?.mp4"


def test_the_fingerprint_is_the_specifications() -> None:
    """One published pair of schema and CRC-64-AVRO fingerprint: the specification's own test of `"int"`."""
    assert crc_64_avro('"int"') == (0x7275D51A3F395C8F).to_bytes(8, "little")
    assert encode(QUEUED)[:HEADER_BYTES] in PREFIXES


@given(st.sampled_from(PREFIXES), st.binary(max_size=60))
def test_any_body_is_a_message_or_refused(prefix: bytes, body: bytes) -> None:
    _decodes_or_refuses(prefix + body)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_refused(record: bytes) -> None:
    _decodes_or_refuses(record)


@given(ANY_MESSAGE, st.data())
def test_a_truncated_record_is_refused(message: AnyMessage, data: st.DataObject) -> None:
    record = encode(message)
    with pytest.raises(UndecodableRecord):
        CODEC.decode(record[: data.draw(st.integers(0, len(record) - 1))])


@given(ANY_MESSAGE, st.binary(min_size=1, max_size=5))
def test_a_record_with_more_behind_its_end_is_refused(message: AnyMessage, more: bytes) -> None:
    with pytest.raises(UndecodableRecord, match="follow its end"):
        CODEC.decode(encode(message) + more)


@given(ANY_MESSAGE, st.data())
def test_flipped_bits_give_a_message_or_are_refused(message: AnyMessage, data: st.DataObject) -> None:
    record = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        record[data.draw(st.integers(HEADER_BYTES, len(record) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    _decodes_or_refuses(bytes(record))


def _decodes_or_refuses(record: bytes) -> None:
    with suppress(UndecodableRecord):
        assert isinstance(CODEC.decode(record), MESSAGES)


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (b"", "not Avro single-object"),
        (b'{"type":"convert"}', "not Avro single-object"),
        (MARKER + bytes(8), "unknown schema fingerprint '0000000000000000'"),
        (MARKER + b"\x01", "unknown schema fingerprint"),
        (encode(QUEUED)[:-1], "damaged task-queued.v1 record"),
    ],
)
def test_a_refusal_says_what_is_wrong(record: bytes, says: str) -> None:
    with pytest.raises(UndecodableRecord, match=says):
        decode(record)


def test_a_change_of_the_configuration_is_no_message_about_a_task() -> None:
    change = LimitSet(change_id="c", changed_at=AT, scope="model", name="gpt-4", concurrency=2)
    assert decode_change(encode(change)) == change
    with pytest.raises(UndecodableRecord, match=r"limit\.set is a change of the configuration"):
        decode(encode(change))
    with pytest.raises(UndecodableRecord, match=r"task\.queued is a message about a task"):
        decode_change(encode(QUEUED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed:
    """A message at its third version: `colour` was `color`, and a weight came before that."""

    TYPE: ClassVar[str] = "thing.seen"
    VERSION: ClassVar[int] = 3

    colour: str
    weight_grams: int


def _schema(*fields: tuple[str, str]) -> dict[str, Any]:
    return {"type": "record", "name": "Thing", "fields": [{"name": name, "type": kind} for name, kind in fields]}


VERSIONS = {
    "thing-seen.v1": _schema(("color", "string")),
    "thing-seen.v2": _schema(("color", "string"), ("weight_grams", "long")),
    "thing-seen.v3": _schema(("colour", "string"), ("weight_grams", "long")),
}
CODEC_OF_THINGS = Codec(
    VERSIONS,
    [cast("type[AnyMessage]", Renamed)],
    {
        "thing-seen.v1": lambda old: ("thing-seen.v2", old | {"weight_grams": -1}),
        "thing-seen.v2": lambda old: (
            "thing-seen.v3",
            {"colour": old["color"], "weight_grams": old["weight_grams"]},
        ),
    },
)


def _old_record(name: str, fields: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, VERSIONS[name], fields)
    return MARKER + crc_64_avro(fastavro.schema.to_parsing_canonical_form(VERSIONS[name])) + buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "fields", "weight"),
    [
        ("thing-seen.v1", {"color": "red"}, -1),
        ("thing-seen.v2", {"color": "red", "weight_grams": 5}, 5),
        ("thing-seen.v3", {"colour": "red", "weight_grams": 5}, 5),
    ],
)
def test_an_old_version_is_read_as_the_present_message(name: str, fields: dict[str, Any], weight: int) -> None:
    expected = Renamed(colour="red", weight_grams=weight)
    assert cast("object", CODEC_OF_THINGS.decode(_old_record(name, fields))) == expected


def test_the_present_version_is_written() -> None:
    record = CODEC_OF_THINGS.encode(cast("AnyMessage", Renamed(colour="red", weight_grams=5)))
    assert record == _old_record("thing-seen.v3", {"colour": "red", "weight_grams": 5})


def test_two_schemas_that_readers_could_not_tell_apart_are_refused() -> None:
    """A default is no part of the fingerprint, so a v2 that only changes one would be read as v1."""
    second = _schema(("color", "string"))
    second["fields"][0]["default"] = "green"
    with pytest.raises(ValueError, match=r"thing-seen\.v2 and thing-seen\.v1 have one fingerprint"):
        Codec({"thing-seen.v1": VERSIONS["thing-seen.v1"], "thing-seen.v2": second}, [], {})
