"""From what a sender wrote to the fact that accepts it, and the flaws that are named instead."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from domain.catalogue import Catalogue, TaskType
from domain.errors import InvalidSubmission, UnknownTaskType
from domain.submission import SubmissionDefaults, derived_id, submitted
from schemas.codec import decode, encode
from schemas.events import TaskSubmitted

AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


class Part(BaseModel):
    size: int


class Order(BaseModel):
    """The payload of the tests' own task type."""

    model_config = ConfigDict(extra="forbid")

    name: str = "x"
    parts: list[Part] = []
    extra_data: dict[str, Any] = {}


CATALOGUE = Catalogue([TaskType("order", "cpu", Order), TaskType("chat", "llm", Order, routed_by_model=True)])


def accept(document: Any, *, idempotency_key: str | None = None) -> TaskSubmitted:
    fact = submitted(
        document,
        CATALOGUE,
        at=AT,
        new_id="new-id",
        defaults=SubmissionDefaults(timeout_seconds=120.0, max_retries=2),
        source="http",
        idempotency_key=idempotency_key,
    )
    assert decode(encode(fact)) == fact
    return fact


def flaws(document: Any) -> dict[str, str]:
    with pytest.raises(InvalidSubmission) as raised:
        accept(document)
    return {flaw.pointer: flaw.detail for flaw in raised.value.flaws}


def test_what_is_left_out_gets_the_defaults() -> None:
    assert accept({"type": "order"}) == TaskSubmitted(
        task_id="new-id",
        occurred_at=AT,
        type="order",
        resource_class="cpu",
        routing_key="new-id",
        timeout_seconds=120.0,
        attempts_max=3,
    )


def test_json_text_bytes_and_objects_are_the_same_submission() -> None:
    document = {"type": "order", "payload": {"name": "今日"}, "metadata": {"a": [1, None, 2.5]}}
    text = json.dumps(document)
    assert accept(document) == accept(text) == accept(text.encode())
    assert accept(text).payload == '{"name":"今日"}'


@pytest.mark.parametrize(
    ("priority", "number"),
    [(1, 1), (2, 2), (3, 3), ("low", 1), ("normal", 2), ("high", 3), ("HIGH", 3)],
)
def test_priorities(priority: Any, number: int) -> None:
    assert accept({"type": "order", "priority": priority}).priority == number


@pytest.mark.parametrize("priority", [0, 4, -1, 2.5, True, "urgent", "2", None, [1]])
def test_what_is_no_priority(priority: Any) -> None:
    assert list(flaws({"type": "order", "priority": priority})) == ["/priority"]


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(60, 60), (0.5, 0.5), ("60s", 60), ("5m", 300), ("1.5h", 5400), ("250ms", 0.25), (" 2s ", 2), ("60", 60)],
)
def test_durations(timeout: Any, seconds: float) -> None:
    assert accept({"type": "order", "timeout": timeout}).timeout_seconds == seconds


@pytest.mark.parametrize("timeout", [0, -1, "0s", "8d", "five", "", "1h30m", 604801, "169h", [60]])
def test_what_is_no_duration(timeout: Any) -> None:
    assert list(flaws({"type": "order", "timeout": timeout})) == ["/timeout"]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999"])
def test_a_timeout_is_finite(text: str) -> None:
    assert list(flaws(f'{{"type":"order","timeout":{text}}}')) == ["/timeout"]


def test_retries_are_attempts_after_the_first() -> None:
    assert accept({"type": "order", "max_retries": 0}).attempts_max == 1
    assert list(flaws({"type": "order", "max_retries": 101})) == ["/max_retries"]
    assert list(flaws({"type": "order", "max_retries": -1})) == ["/max_retries"]


def test_run_at_is_kept_in_utc_while_it_lies_ahead() -> None:
    assert accept({"type": "order", "run_at": "2026-11-21T12:00:00+02:00"}).run_at == AT + timedelta(minutes=30)
    assert accept({"type": "order", "run_at": "2026-11-21T09:30:00Z"}).run_at is None


def test_run_at_needs_a_time_zone() -> None:
    assert "time zone offset" in flaws({"type": "order", "run_at": "2026-11-21T12:00:00"})["/run_at"]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-10:00", "tomorrow", ""])
def test_a_moment_outside_the_calendar_is_a_flaw(moment: str) -> None:
    assert list(flaws({"type": "order", "run_at": moment})) == ["/run_at"]


@pytest.mark.parametrize("moment", [1763717400, 1763717400.5, "1763717400", True])
def test_a_number_is_no_moment(moment: Any) -> None:
    """Whether it means seconds or milliseconds nobody can tell."""
    with pytest.raises(InvalidSubmission, match="RFC 3339"):
        accept({"type": "order", "run_at": moment})


@pytest.mark.parametrize("field", ["timeout", "max_retries", "priority"])
def test_true_is_no_number(field: str) -> None:
    with pytest.raises(InvalidSubmission, match=f"/{field}"):
        accept({"type": "order", field: True})


def test_unknown_fields_are_named() -> None:
    assert list(flaws({"type": "order", "prio": 3, "retries": 1})) == ["/prio", "/retries"]


def test_an_unknown_type_names_the_known_ones() -> None:
    assert flaws({"type": "ordr"}) == {"/type": "unknown task type 'ordr'; registered here: chat, order"}


def test_payload_flaws_are_json_pointers_without_the_values() -> None:
    found = flaws({"type": "order", "payload": {"parts": [{"size": 1}, {"size": "secret"}], "a/b~c": 1}})
    assert list(found) == ["/payload/parts/1/size", "/payload/a~1b~0c"]
    assert "secret" not in str(found)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("field", ["payload", "metadata"])
def test_numbers_must_be_finite(field: str, number: str) -> None:
    inner = f'{{"extra_data":{{"n":{number}}}}}'
    assert "must be finite" in flaws(f'{{"type":"order","{field}":{inner}}}')[f"/{field}"]


@pytest.mark.parametrize("field", ["payload", "metadata"])
def test_text_must_be_unicode(field: str) -> None:
    """`json.loads` lets half a surrogate pair through; no record can hold it."""
    document = {"type": "order", field: {"extra_data": {"n": "\ud800"}}}
    assert "surrogate" in flaws(document)[f"/{field}"]
    assert flaws(json.dumps(document))


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 201, 7])
@pytest.mark.parametrize("field", ["type", "id", "tenant", "model"])
def test_names_are_short_and_have_no_control_characters(field: str, name: Any) -> None:
    assert list(flaws({"type": "order", field: name})) == [f"/{field}"]


@pytest.mark.parametrize("task_id", ["a/b", "..", ".", "a b", "a?b", "a#b", "é", "a\\b", "%2e"])
def test_an_id_is_safe_in_a_url_and_as_a_file_name(task_id: str) -> None:
    assert list(flaws({"type": "order", "id": task_id})) == ["/id"]


def test_callback_is_an_http_url() -> None:
    assert (
        accept({"type": "order", "callback_url": "https://a.example/x?y=1"}).callback_url == "https://a.example/x?y=1"
    )
    assert list(flaws({"type": "order", "callback_url": "file:///etc/passwd"})) == ["/callback_url"]


def test_the_id_is_the_senders_else_of_the_idempotency_key_else_new() -> None:
    assert accept({"type": "order", "id": "mine"}, idempotency_key="k").task_id == "mine"
    by_key = accept({"type": "order"}, idempotency_key="k").task_id
    assert by_key == derived_id("default", "k") == accept({"type": "order"}, idempotency_key="k").task_id
    assert by_key != accept({"type": "order", "tenant": "other"}, idempotency_key="k").task_id
    assert accept({"type": "order"}, idempotency_key="").task_id == "new-id"


def test_work_is_routed_by_its_task_or_by_its_model() -> None:
    assert accept({"type": "order", "id": "t", "model": "m"}).routing_key == "t"
    assert accept({"type": "chat", "id": "t", "model": "m"}).routing_key == "m"
    assert accept({"type": "chat", "id": "t"}).routing_key == "default"


@pytest.mark.parametrize(
    "document",
    [b"", b"\xff\xfe", b"null", b"[]", b'"text"', b"{", b"[" * 5000, b'{"type":"order"} x', {}, {"type": None}],
)
def test_what_is_no_submission_is_refused_and_nothing_else_is_raised(document: Any) -> None:
    assert flaws(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        "type",
        "payload",
        "id",
        "priority",
        "tenant",
        "model",
        "timeout",
        "max_retries",
        "run_at",
        "metadata",
        "callback_url",
    ]
)


@given(st.dictionaries(FIELDS | st.text(max_size=5), JSON, max_size=5), st.booleans())
def test_any_document_is_accepted_or_refused(document: dict[str, Any], named: bool) -> None:
    """Outsiders write what they like; a reader of tasks-intake must never meet another exception."""
    for written in (document | ({"type": "order"} if named else {}), json.dumps(document)):
        try:
            accept(written)
        except InvalidSubmission as error:
            assert all(flaw.pointer == "" or flaw.pointer.startswith("/") for flaw in error.flaws)  # noqa: PT017 # refusing is a right answer


def test_a_catalogue_is_a_mapping_that_explains_itself() -> None:
    assert "order" in CATALOGUE
    assert "nothing" not in CATALOGUE
    assert sorted(CATALOGUE) == ["chat", "order"]
    assert len(CATALOGUE) == 2
    with pytest.raises(UnknownTaskType, match=r"unknown task type 'nothing'; registered here: chat, order"):
        CATALOGUE["nothing"]


@pytest.mark.parametrize(("written", "seconds"), [(90, 90), ("90m", 5400), ("3d", 3 * 86400)])
def test_a_delay_counts_from_the_submission(written: Any, seconds: float) -> None:
    assert accept({"type": "order", "delay": written}).run_at == AT + timedelta(seconds=seconds)


@pytest.mark.parametrize("written", [3600, "1h", "2026-11-21T10:30:00Z", "2026-11-21T11:30:00+01:00"])
def test_a_deadline_is_a_moment_or_a_duration(written: Any) -> None:
    assert accept({"type": "order", "deadline": written}).deadline_at == AT + timedelta(hours=1)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"deadline": "2026-11-21T09:29:59Z"}, "/deadline"),
        ({"deadline": "2026-11-21T10:30:00Z", "run_at": "2026-11-21T10:30:00Z"}, "/deadline"),
        ({"deadline": "1h", "delay": "1h"}, "/deadline"),
        ({"deadline": "tomorrow"}, "/deadline"),
        ({"deadline": "2026-11-21T10:30:00"}, "/deadline"),
        ({"deadline": 0}, "/deadline"),
        ({"deadline": True}, "/deadline"),
        ({"delay": "1h", "run_at": "2026-11-21T10:30:00Z"}, ""),
        ({"delay": 0}, "/delay"),
        ({"delay": 1e300}, "/delay"),
        ({"depends_on": ["no/id"]}, "/depends_on/0"),
        ({"depends_on": ["a"], "id": "a"}, "/depends_on"),
        ({"on_dependency_failure": "fail_fast"}, "/on_dependency_failure"),
        ({"route_by": "luck"}, "/route_by"),
        ({"estimated_time": -1}, "/estimated_time"),
    ],
)
def test_times_and_dependencies_that_cannot_be_are_named(fields: dict[str, Any], pointer: str) -> None:
    assert pointer in flaws({"type": "order"} | fields)


def test_what_is_only_carried_is_carried() -> None:
    task = accept(
        {"type": "order", "estimated_time": "2m", "route_by": "cost", "fallbacks": ["a", "b"], "depends_on": ["x", "x"]}
    )
    assert (task.estimated_seconds, task.route_by, task.fallbacks) == (120.0, "cost", ("a", "b"))
    assert (task.depends_on, task.on_dependency_failure) == (("x",), "fail")


def test_a_reference_stands_where_any_value_may_stand() -> None:
    payload = {"name": {"$from": "x#/name"}, "parts": [{"size": {"$from": "x"}}]}
    assert json.loads(accept({"type": "order", "payload": payload, "depends_on": ["x"]}).payload) == payload
    assert set(flaws({"type": "order", "payload": payload | {"more": 1}, "depends_on": ["x"]})) == {"/payload/more"}
    assert set(flaws({"type": "order", "payload": payload, "depends_on": ["y"]})) == {
        "/payload/name",
        "/payload/parts/0/size",
    }


def test_without_dependencies_nothing_is_a_reference() -> None:
    extra = {"extra_data": {"$from": "x", "other": 1}}
    assert json.loads(accept({"type": "order", "payload": extra}).payload) == extra
    assert "/payload/name" in str(flaws({"type": "order", "payload": {"name": {"$from": "x"}}}))
