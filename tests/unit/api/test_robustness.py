"""Whatever comes in, the answer is a problem that names the caller's mistake, never an error of ours."""

import json
import logging
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.callers import problem
from tests.support.memory_world import MemoryWorld

PATH = "/api/v1/tasks"
ECHO = {"type": "echo", "payload": {"text": "hello"}}
JSON = {"content-type": "application/json"}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes().map(str),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)
fields = st.sampled_from(
    [
        *("type", "payload", "id", "priority", "tenant", "model", "timeout", "max_retries", "run_at", "metadata"),
        *("callback_url", "payload", "payload"),
    ]
)
near_submissions = st.builds(lambda changes: ECHO | changes, st.dictionaries(fields, json_values, max_size=4))
bodies = (
    st.binary(max_size=200)
    | json_values.map(json.dumps).map(str.encode)
    | near_submissions.map(json.dumps).map(str.encode)
)
accepted_or_refused = frozenset({202, 409, 413, 415, 422})


one_application = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of access lines tell nothing here."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


@one_application
@given(body=bodies)
async def test_any_body_is_accepted_or_refused(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post(PATH, content=body, headers=JSON)
    assert answer.status_code in accepted_or_refused, (answer.status_code, answer.text)


@one_application
@given(
    name=st.sampled_from(["idempotency-key", "content-type", "content-length", "traceparent", "x-request-id"]),
    value=st.binary(max_size=40).filter(lambda value: not set(value) & set(b"\r\n\0")),
)
async def test_any_header_is_taken_or_refused(client: httpx.AsyncClient, name: str, value: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (name.encode(), value)]
    answer = await client.post(PATH, content=json.dumps(ECHO), headers=headers)
    assert answer.status_code in accepted_or_refused | {400}, (answer.status_code, answer.text)


@one_application
@given(
    query=st.dictionaries(
        st.sampled_from(["page", "page_size", "status", "type", "tenant", "wait", "other"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.integers().map(str),
        max_size=4,
    )
)
async def test_any_query_is_met_or_refused(client: httpx.AsyncClient, query: dict[str, str]) -> None:
    answer = await client.get(PATH, params=query)
    assert answer.status_code in {200, 422}, (answer.status_code, answer.text)


@one_application
@given(
    method=st.sampled_from(["GET", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "HEAD", "BREW"]),
    path=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
)
async def test_any_path_is_served_or_not(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, f"{PATH}/{quote(path)}")
    assert answer.status_code in {200, 307, 404, 405}, (answer.status_code, answer.text)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[" * 100_000,
        b'{"type":"echo","payload":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
        b'{"type":"echo","payload":{"text":"\\ud800"}}',
        b'{"type":"echo","payload":{"text":"x","n":' + b"9" * 5000 + b"}}",
        b'{"type":"echo","payload":{"text":"x","n":1e999}}',
        b'{"type":"echo","payload":{"text":"x"},"run_at":"0001-01-01T00:00:00+23:59"}',
        b'{"type":"echo","payload":{"text":"x"},"id":"../../etc/passwd"}',
        b"\xff\xfe{\x00}\x00",
    ],
)
async def test_traps_are_refused(client: httpx.AsyncClient, body: bytes) -> None:
    problem(await client.post(PATH, content=body, headers=JSON), 422, "invalid-request")


async def test_what_nobody_serves_is_a_problem_too(client: httpx.AsyncClient) -> None:
    problem(await client.get("/nowhere"), 404, "not-found")
    answer = await client.put(PATH, json=ECHO)
    problem(answer, 405, "method-not-allowed")
    assert {"GET", "POST"} <= set(answer.headers["allow"].replace(" ", "").split(","))


async def test_a_fault_of_ours_is_a_problem_without_its_secrets(
    client: httpx.AsyncClient, world: MemoryWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(world.read_model, "tasks", broken)
    answer = await client.get(PATH, headers={"x-request-id": "abc"})
    problem(answer, 500, "internal-error")
    assert "hunter2" not in answer.text
    assert answer.headers["x-request-id"] == "abc"


async def test_every_answer_has_a_request_id(client: httpx.AsyncClient) -> None:
    ids = [
        (await client.get(path, headers=headers)).headers["x-request-id"]
        for path, headers in [
            ("/health", {}),
            ("/nowhere", {"x-request-id": "mine-1"}),
            ("/health", {"x-request-id": "not one\t"}),
            ("/health", {"x-request-id": "x" * 129}),
        ]
    ]
    assert ids[1] == "mine-1"
    assert len(set(ids)) == 4
    assert all(len(made) == 36 for made in (ids[0], ids[2], ids[3]))


async def test_one_line_a_request(client: httpx.AsyncClient) -> None:
    structlog.reset_defaults()
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        await client.post(PATH, json=ECHO, headers={"x-request-id": "mine-2"})
        await client.get("/ready")
    line, probe = lines
    assert (line["method"], line["path"], line["status"], line["request_id"]) == ("POST", PATH, 202, "mine-2")
    assert (line["log_level"], probe["log_level"], probe["path"]) == ("info", "debug", "/ready")
    assert line["milliseconds"] >= 0
