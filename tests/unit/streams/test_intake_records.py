"""Records of tasks-intake, read without a broker."""

import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidSubmission, SubmissionTooLarge
from domain.submission import WRITTEN_BYTES_MAX, SubmissionDefaults, submitted
from schemas.codec import encode
from schemas.commands import CancelTask
from schemas.events import NAMESPACE, TaskSubmitted
from streams import held_work, topics
from streams.dead_letters import Origin
from streams.intake_records import AVRO_BYTES_MAX, DETAIL_CHARACTERS_MAX, Reader, Unacceptable, rejection
from tests.support.memory_world import CATALOGUE, CLASSES

AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
ORIGIN = Origin("tasks-intake", 2, 17)
POSITION_ID = str(uuid.uuid5(NAMESPACE, "tasks-intake/2/17"))
READER = Reader(CATALOGUE, SubmissionDefaults(timeout_seconds=7.0, max_retries=1), frozenset(CLASSES))
ECHO = {"type": "echo", "payload": {"text": "hello"}}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

AVRO = TaskSubmitted(
    task_id="mine",
    occurred_at=AT - timedelta(minutes=1),
    type="echo",
    resource_class="cpu",
    routing_key="mine",
    payload='{"text":"hello"}',
    source="http",
    traceparent=TRACE,
)


def read(value: bytes | None, traceparent: str | None = None) -> TaskSubmitted:
    (task,) = READER.tasks(value, ORIGIN, at=AT, traceparent=traceparent)
    return task


def refused(value: bytes | None) -> Unacceptable:
    with pytest.raises(Unacceptable) as caught:
        read(value)
    return caught.value


def test_json_becomes_a_task_with_the_defaults_of_the_house() -> None:
    task = read(json.dumps(ECHO).encode(), TRACE)
    assert (task.type, task.resource_class, task.payload) == ("echo", "cpu", '{"text":"hello"}')
    assert (task.timeout_seconds, task.attempts_max) == (7.0, 2)
    assert (task.source, task.occurred_at, task.traceparent) == ("intake", AT, TRACE)
    assert task.version == (1, 0, 0)


def test_a_record_without_an_id_is_the_same_task_each_time_it_is_read() -> None:
    value = json.dumps(ECHO).encode()
    assert read(value) == read(value)
    assert read(value).task_id == POSITION_ID
    (other,) = READER.tasks(value, replace(ORIGIN, offset=18), at=AT, traceparent=None)
    assert other.task_id != POSITION_ID


def test_an_id_of_the_senders_choice_is_kept() -> None:
    assert read(json.dumps(ECHO | {"id": "mine"}).encode()).task_id == "mine"


def test_avro_becomes_the_very_task_that_it_describes() -> None:
    task = read(encode(AVRO))
    assert task == AVRO
    assert task.event_id == AVRO.event_id


def test_an_outsiders_word_on_class_and_route_counts_for_nothing() -> None:
    task = read(encode(replace(AVRO, resource_class="llm", routing_key="elsewhere", source="me", traceparent="junk")))
    assert (task.resource_class, task.routing_key, task.source, task.traceparent) == ("cpu", "mine", "intake", None)


def test_a_time_to_come_is_kept_and_one_that_has_passed_is_not() -> None:
    later = AT + timedelta(hours=1)
    assert read(encode(replace(AVRO, run_at=later))).run_at == later
    assert read(encode(replace(AVRO, run_at=AT - timedelta(hours=1)))).run_at is None


def test_a_clock_that_runs_ahead_is_put_right() -> None:
    assert read(encode(replace(AVRO, occurred_at=AT + timedelta(days=400)))).occurred_at == AT


@pytest.mark.parametrize("field", ["run", "epoch", "sequence", "attempt", "attempts_before"])
def test_an_outsider_cannot_forge_the_place_of_a_fact(field: str) -> None:
    forged: dict[str, Any] = {field: 5}
    assert refused(encode(replace(AVRO, **forged))).code == "invalid_submission"


@pytest.mark.parametrize(
    ("value", "code", "words"),
    [
        (None, "empty_record", "no value"),
        (b"", "empty_record", "no value"),
        (b"\x00\x01garbage", "invalid_submission", "JSON"),
        (b"[1,2]", "invalid_submission", "object"),
        (b'{"payload":{}}', "invalid_submission", "/type"),
        (b'{"type":"nobody"}', "invalid_submission", "unknown task type"),
        (b'{"type":"echo","payload":{}}', "invalid_submission", "/payload/text"),
        (b'{"type":"echo","payload":"text"}', "invalid_submission", "/payload"),
        (b'{"type":"chat","payload":{"text":"x"}}', "invalid_submission", "'llm' is not set up here"),
        (b'{"type":"echo","payload":' + b"[" * 100_000, "invalid_submission", "recursion"),
        (b'{"type":"' + b"x" * 2_000_000 + b'"}', "too_large", "1048576"),
        (
            b'{"type":"echo","payload":{"text":"x","n":[' + b",".join([b"1e15"] * 200_000) + b"]}}",
            "too_large",
            "written out",
        ),
        (encode(replace(AVRO, payload='{"text":"%s"}' % ("x" * 1_600_000))), "too_large", "1572864"),
        (encode(replace(AVRO, payload='{"text":"%s"}' % (" " * 4_130_000))), "too_large", "4128768"),
        (encode(AVRO)[:-4], "undecodable_record", "damaged"),
        (b"\xc3\x01" + bytes(8), "undecodable_record", "fingerprint"),
        (encode(CancelTask(task_id="t", requested_at=AT)), "undecodable_record", "task.cancel"),
        (encode(replace(AVRO, payload="{")), "invalid_submission", "/payload"),
        (encode(replace(AVRO, payload="[]")), "invalid_submission", "/payload"),
        (encode(replace(AVRO, task_id="")), "invalid_submission", "/id"),
        (encode(replace(AVRO, timeout_seconds=float("nan"))), "invalid_submission", "/timeout"),
        (encode(replace(AVRO, attempts_max=0)), "invalid_submission", "/max_retries"),
    ],
)
def test_a_bad_record_says_why(value: bytes | None, code: str, words: str) -> None:
    why = refused(value)
    assert why.code == code
    assert words in why.detail


def test_a_rejection_cannot_touch_the_task_whose_id_it_claims() -> None:
    value = json.dumps(ECHO | {"id": "somebody-elses", "tenant": "a", "priority": 9}).encode()
    fact = rejection(value, ORIGIN, refused(value), at=AT)
    assert fact.task_id == POSITION_ID
    assert (fact.type, fact.tenant, fact.origin) == ("echo", "a", "tasks-intake/2/17")
    assert fact.version == (1, 0, 1)
    assert "'somebody-elses'" in fact.error_detail
    assert rejection(value, ORIGIN, refused(value), at=AT).event_id == fact.event_id


def test_a_rejection_holds_no_more_than_can_be_kept() -> None:
    flaws = json.dumps(ECHO | {f"field-{n}": 1 for n in range(5000)} | {"type": "a\0b", "tenant": 7}).encode()
    fact = rejection(flaws, ORIGIN, refused(flaws), at=AT)
    assert len(fact.error_detail) <= DETAIL_CHARACTERS_MAX
    assert "\0" not in fact.error_detail
    assert (fact.type, fact.tenant) == (None, None)
    encode(fact)


def through_http(body: bytes) -> TaskSubmitted:
    """What the HTTP door makes of a body."""
    return submitted(body, CATALOGUE, at=AT, new_id="new", defaults=READER.defaults, source="http", traceparent=TRACE)


def later(**more: Any) -> bytes:
    """Work for later, as a caller of the HTTP door writes it."""
    document = ECHO | {"run_at": (AT + timedelta(hours=1)).isoformat()} | more
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def of_numbers(size: int) -> bytes:
    """A payload of numbers that are four times as long when they are written out."""
    return later(payload={"text": "x", "n": ["numbers"]}).replace(b'"numbers"', b",".join([b"1e15"] * (size // 5)))


WIDE = "\N{LATIN SMALL LETTER U WITH DIAERESIS}"
LIMIT = 1024 * 1024


@pytest.mark.parametrize(
    "body",
    [
        later(payload={"text": "x" * (LIMIT - 200)}),
        later(payload={"text": WIDE * (LIMIT // 2 - 200)}),
        later(payload={"text": "\x01" * (LIMIT // 6 - 200)}),
        later(metadata={"text": WIDE * (LIMIT // 2 - 200)}),
        of_numbers(400_000),
        of_numbers(413_000),
        later(id="i" * 200, tenant=WIDE * 200, model=WIDE * 200, callback_url=f"https://x.example/{WIDE * 340}"),
    ],
)
def test_what_the_http_door_accepts_for_later_is_accepted_and_fits_wherever_it_goes(body: bytes) -> None:
    accepted = through_http(body)
    record = encode(accepted)
    task = read(record)
    assert task == accepted
    fact = encode(held_work.held(task, encode(task), "run_at", AT, AT))
    assert max(len(record), len(fact)) < AVRO_BYTES_MAX < topics.RECORD_BYTES_MAX - 32 * 1024


def test_a_submission_at_the_bound_is_taken_by_both_doors_and_one_beyond_it_by_neither() -> None:
    empty = json.dumps({"text": ""}, separators=(",", ":")) + "{}"
    room = WRITTEN_BYTES_MAX - len(empty)
    text = WIDE * (room // 2) + "x" * (room % 2)
    details: dict[str, Any] = {"at": AT, "new_id": "new", "defaults": READER.defaults, "source": "http"}
    accepted = submitted(ECHO | {"payload": {"text": text}}, CATALOGUE, **details)
    assert len(accepted.payload.encode()) + len(accepted.metadata.encode()) == WRITTEN_BYTES_MAX
    assert read(encode(accepted)) == accepted
    beyond = {"text": text + "x"}
    with pytest.raises(SubmissionTooLarge):
        submitted(ECHO | {"payload": beyond}, CATALOGUE, **details)
    larger = replace(accepted, payload=json.dumps(beyond, ensure_ascii=False, separators=(",", ":")))
    assert refused(encode(larger)).code == "too_large"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)
URLS = st.text(max_size=20).map(lambda path: f"https://x.example/{path}")


@given(
    changes=st.fixed_dictionaries(
        {"payload": st.dictionaries(st.text(max_size=8), JSON, max_size=4).map(lambda more: more | {"text": "x"})},
        optional={
            "metadata": st.dictionaries(st.text(max_size=8), JSON, max_size=4),
            "tenant": st.text(min_size=1, max_size=8),
            "model": st.text(min_size=1, max_size=8),
            "timeout": st.floats(min_value=0, max_value=1e6) | st.sampled_from(["60s", "1.5h"]),
            "max_retries": st.integers(0, 100),
            "callback_url": URLS,
        },
    )
)
def test_whatever_the_http_door_accepts_for_later_becomes_the_same_task(changes: dict[str, Any]) -> None:
    try:
        accepted = through_http(json.dumps(ECHO | {"run_at": "2026-11-22T00:00:00Z"} | changes).encode())
    except InvalidSubmission:
        return
    assert read(encode(accepted)) == accepted


def test_a_url_that_grows_too_long_when_it_is_written_in_ascii_is_refused_at_once() -> None:
    with pytest.raises(InvalidSubmission, match=r"/callback_url: has \d+ characters in ASCII"):
        through_http(later(callback_url=f"https://x.example/{WIDE * 700}"))


@given(
    value=st.binary(max_size=300)
    | st.binary(max_size=200).map(lambda tail: encode(AVRO)[:10] + tail)
    | st.integers(0, len(encode(AVRO))).map(lambda cut: encode(AVRO)[:cut])
)
def test_any_bytes_are_a_task_or_a_reason(value: bytes) -> None:
    try:
        task: Any = read(value)
    except Unacceptable as why:
        task = rejection(value, ORIGIN, why, at=AT)
    assert encode(task)
