"""Requests and answers of `api_request`, without a network."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from agents.handlers.api_request import ApiRequestPayload, exchange
from agents.handlers.http_transport import GuardedTransport
from agents.handlers.settings import HandlerSettings, HttpSettings
from domain.errors import TaskError
from tests.support.contexts import context

Answer = Callable[[httpx.Request], httpx.Response]


async def send(answer: Answer, settings: HttpSettings | None = None, **payload: Any) -> Mapping[str, Any]:
    parsed = ApiRequestPayload.model_validate({"url": "http://service.test/path", **payload})
    transport = httpx.MockTransport(answer)
    async with (
        context(HandlerSettings(http=settings or HttpSettings())) as ctx,
        httpx.AsyncClient(transport=transport, follow_redirects=parsed.allow_redirects, max_redirects=2) as client,
    ):
        return await exchange(client, parsed, ctx)


async def failure(answer: Answer, **payload: Any) -> TaskError:
    with pytest.raises(TaskError) as caught:
        await send(answer, **payload)
    return caught.value


async def test_the_answer_is_the_result() -> None:
    result = await send(lambda _: httpx.Response(200, json={"ok": [1]}, headers={"X-A": "b"}))
    assert (result["status"], result["body"], result["headers"]["x-a"]) == (200, {"ok": [1]}, "b")
    assert result["elapsed_ms"] >= 0


@pytest.mark.parametrize(
    ("content", "kind", "body"),
    [
        (b"plain", "text/plain", "plain"),
        (b"{broken", "application/json", "{broken"),
        (b'{"a":1}', "application/problem+json; charset=utf-8", {"a": 1}),
        ("grün".encode("latin-1"), "text/plain; charset=latin-1", "grün"),
        (b"\xff", "text/plain; charset=nonsense", "\ufffd"),
        (b"", "application/json", ""),
    ],
)
async def test_json_is_a_value_and_anything_else_a_text(content: bytes, kind: str, body: object) -> None:
    result = await send(lambda _: httpx.Response(200, content=content, headers={"Content-Type": kind}))
    assert result["body"] == body


async def test_the_request_is_what_the_payload_says() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(204)

    await send(
        answer, method="post", url="http://service.test/p?x=1", params={"y": ["2", "3"]}, json={"a": None},
        headers={"X-Mine": "1"},
    )  # fmt: skip
    request = seen[0]
    assert (request.method, str(request.url)) == ("POST", "http://service.test/p?x=1&y=2&y=3")
    assert json.loads(request.content) == {"a": None}
    assert request.headers["x-mine"] == "1"
    assert request.headers["idempotency-key"] == "key-of-task-1"


@pytest.mark.parametrize(("method", "expected"), [("GET", False), ("HEAD", False), ("PUT", True), ("DELETE", True)])
async def test_only_requests_that_change_something_carry_a_key(method: str, expected: bool) -> None:
    result = await send(
        lambda request: httpx.Response(200, text=str("idempotency-key" in request.headers)), method=method
    )
    assert result["body"] == str(expected) or method == "HEAD"


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [(404, "unexpected_status", False), (401, "unexpected_status", False), (429, "http_unavailable", True),
     (500, "http_unavailable", True), (503, "http_unavailable", True)],
)  # fmt: skip
async def test_what_a_status_means(status: int, code: str, retryable: bool) -> None:
    error = await failure(lambda _: httpx.Response(status, text="why", headers={"Retry-After": "9"}))
    assert (error.code, error.retryable) == (code, retryable)
    assert "why" in error.detail
    assert error.retry_after_seconds == (9 if retryable else None)


async def test_expected_statuses_decide() -> None:
    assert (await send(lambda _: httpx.Response(404), expected_status=[404]))["status"] == 404
    assert (await failure(lambda _: httpx.Response(200), expected_status=[201])).code == "unexpected_status"


async def test_a_broken_connection_is_worth_another_attempt() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("gone", request=request)

    error = await failure(answer)
    assert (error.code, error.retryable) == ("http_unreachable", True)


async def test_a_long_answer_is_refused() -> None:
    with pytest.raises(TaskError) as caught:
        await send(lambda _: httpx.Response(200, content=b"x" * 101), HttpSettings(response_bytes_max=100))
    assert (caught.value.code, caught.value.retryable) == ("response_too_large", False)


async def test_redirects_are_followed_on_request_and_not_for_ever() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"Location": "/again"})

    assert (await send(answer))["status"] == 302
    assert (await failure(answer, allow_redirects=True)).code == "too_many_redirects"


@pytest.mark.parametrize(
    "payload",
    [
        {"url": "file:///etc/passwd"},
        {"url": "ftp://a/b"},
        {"headers": {"Host": "other"}},
        {"headers": {"X": "a\r\nY: b"}},
        {"json": 1, "body": "x"},
        {"timeout_seconds": 0},
        {"method": "CONNECT"},
    ],
)
def test_payloads_that_are_refused(payload: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ApiRequestPayload.model_validate({"url": "http://service.test/", **payload})


class Resolver:
    """Answers with the addresses of a test, and counts."""

    def __init__(self, *addresses: str) -> None:
        self.addresses, self.calls = list(addresses), 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.calls += 1
        return self.addresses


def guarded(resolver: Resolver, answer: Answer) -> httpx.AsyncClient:
    transport = GuardedTransport(httpx.MockTransport(answer), allow_private=False, resolver=resolver)
    return httpx.AsyncClient(transport=transport, follow_redirects=True)


async def test_the_connection_goes_to_the_address_that_was_judged_under_the_name_that_was_asked_for() -> None:
    resolver = Resolver("93.184.215.14")
    async with guarded(resolver, lambda request: httpx.Response(200, json=[
        str(request.url), request.headers["host"], request.extensions["sni_hostname"]])) as client:  # fmt: skip
        response = await client.get("https://service.test:8443/x")
    assert response.json() == ["https://93.184.215.14:8443/x", "service.test:8443", "service.test"]
    assert resolver.calls == 1


async def test_one_refused_address_refuses_the_name() -> None:
    async with guarded(Resolver("93.184.215.14", "10.0.0.1"), lambda _: httpx.Response(200)) as client:
        with pytest.raises(TaskError) as caught:
            await client.get("http://service.test/")
    assert caught.value.code == "address_refused"


async def test_a_redirect_is_judged_like_the_first_request() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        resolver.addresses = ["169.254.169.254"]
        return httpx.Response(302, headers={"Location": "http://metadata.test/"})

    resolver = Resolver("93.184.215.14")
    async with guarded(resolver, answer) as client:
        with pytest.raises(TaskError) as caught:
            await client.get("http://service.test/")
    assert caught.value.code == "address_refused"
