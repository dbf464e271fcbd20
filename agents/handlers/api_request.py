"""Sends an HTTP request and records the answer.

A request may be sent more than once, since an attempt can be lost after it was sent. Requests that change something
carry an `Idempotency-Key` that is the same for every attempt, by which the other side can recognise a repeat.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, Self

import httpx
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, JsonValue, field_validator, model_validator

from agents.context import TaskContext
from agents.handlers.http_transport import GuardedTransport
from agents.handlers.registry import handler
from agents.retry_after import retry_after_seconds
from domain.errors import TaskError

CONNECT_SECONDS_MAX = 10.0
#: How much of an unexpected answer an error shows.
EXCERPT_CHARACTERS_MAX = 200
#: Headers that belong to the connection, not to the caller.
RESERVED_HEADERS = frozenset(
    {"connection", "content-length", "host", "keep-alive", "proxy-authorization", "te", "transfer-encoding", "upgrade"}
)
#: Methods that may be repeated without harm, and need no key. Source: RFC 9110, section 9.2.1.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class ApiRequestPayload(BaseModel):
    """One HTTP request."""

    model_config = ConfigDict(extra="forbid", validate_by_name=True, serialize_by_alias=True)

    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    url: HttpUrl
    headers: dict[str, str] = Field(default_factory=dict)
    params: dict[str, str | int | float | bool | list[str]] = Field(
        default_factory=dict, description="Added to the URL's query"
    )
    json_body: JsonValue = Field(default=None, alias="json", description="Sent as JSON")
    body: str | None = Field(default=None, description="Sent as it is; set Content-Type in the headers")
    timeout_seconds: float = Field(default=30.0, gt=0, le=600, description="For the whole exchange")
    expected_status: list[int] | None = Field(
        default=None, min_length=1, description="Statuses that count as success; by default all below 400"
    )
    allow_redirects: bool = Field(default=False, description="Follow redirects")

    @field_validator("method", mode="before")
    @classmethod
    def _in_capitals(cls, method: object) -> object:
        return method.upper() if isinstance(method, str) else method

    @field_validator("headers")
    @classmethod
    def _no_reserved_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if name.lower() in RESERVED_HEADERS:
                raise ValueError(f"the header {name!r} is set by the system")
            if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum() or set(value) & set("\r\n\0"):
                raise ValueError(f"{name!r} is no valid header")
        return headers

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.body is not None and "json_body" in self.model_fields_set:
            raise ValueError("give either json or body")
        return self


@handler("api_request", resource_class="io", payload=ApiRequestPayload)
async def api_request(payload: ApiRequestPayload, ctx: TaskContext) -> Mapping[str, object]:
    """Send an HTTP request; the result is the answer's status, headers and body."""
    transport = GuardedTransport(httpx.AsyncHTTPTransport(), allow_private=ctx.settings.http.allow_private)
    async with httpx.AsyncClient(
        transport=transport,
        timeout=httpx.Timeout(payload.timeout_seconds, connect=min(CONNECT_SECONDS_MAX, payload.timeout_seconds)),
        follow_redirects=payload.allow_redirects,
        max_redirects=ctx.settings.http.redirects_max,
        trust_env=False,
    ) as client:
        return await exchange(client, payload, ctx)


async def exchange(client: httpx.AsyncClient, payload: ApiRequestPayload, ctx: TaskContext) -> Mapping[str, object]:
    """The answer to the request, as the task's result.

    Raises:
        TaskError: retryable for a broken connection, a timeout, 408, 425, 429 and 5xx; final for other statuses that
            were not expected, too long an answer, too many redirects, and refused addresses.
    """
    started = time.monotonic()
    try:
        async with asyncio.timeout(payload.timeout_seconds):
            async with client.stream(**_request(payload, ctx)) as response:
                content = await _bounded_body(response, ctx.settings.http.response_bytes_max)
    except (TimeoutError, httpx.TimeoutException) as error:
        detail = f"{payload.url} did not answer within {payload.timeout_seconds} s"
        raise TaskError("http_timeout", detail, retryable=True) from error
    except httpx.TooManyRedirects as error:
        raise TaskError("too_many_redirects", str(error)) from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise TaskError("invalid_url", str(error)) from error
    except httpx.DecodingError as error:
        raise TaskError("invalid_response", f"{payload.url}: {error}") from error
    except httpx.HTTPError as error:
        detail = f"{payload.url}: {type(error).__name__}: {error}"
        raise TaskError("http_unreachable", detail, retryable=True) from error
    _check_status(response, content, payload, datetime.now(UTC))
    return {
        "status": response.status_code,
        "url": str(response.url),
        "headers": dict(response.headers),
        "body": _decoded(response, content),
        "elapsed_ms": round((time.monotonic() - started) * 1000, 1),
    }


def _request(payload: ApiRequestPayload, ctx: TaskContext) -> dict[str, Any]:
    headers = httpx.Headers(payload.headers)
    if payload.method not in SAFE_METHODS:
        headers.setdefault("Idempotency-Key", ctx.idempotency_key)
    request: dict[str, Any] = {"method": payload.method, "url": str(payload.url), "headers": headers}
    if payload.params:
        request["params"] = httpx.QueryParams(payload.url.query or "").merge(payload.params)
    if "json_body" in payload.model_fields_set:
        request["json"] = payload.json_body
    elif payload.body is not None:
        request["content"] = payload.body.encode()
    return request


async def _bounded_body(response: httpx.Response, bytes_max: int) -> bytes:
    """Counted after decompression, and while it arrives: a small answer can unpack to anything."""
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > bytes_max:
            raise TaskError("response_too_large", f"{response.url} answers with more than {bytes_max} bytes")
    return bytes(content)


def _check_status(response: httpx.Response, content: bytes, payload: ApiRequestPayload, now: datetime) -> None:
    status = response.status_code
    if status in payload.expected_status if payload.expected_status is not None else status < 400:
        return
    excerpt = content[: EXCERPT_CHARACTERS_MAX * 4].decode(errors="replace")[:EXCERPT_CHARACTERS_MAX]
    detail = f"{payload.method} {response.url} answered {status} {response.reason_phrase}: {excerpt}".rstrip(": ")
    if status in (408, 425, 429) or status >= 500:
        wait_seconds = retry_after_seconds(response.headers, now)
        raise TaskError("http_unavailable", detail, retryable=True, retry_after_seconds=wait_seconds)
    raise TaskError("unexpected_status", detail)


def _decoded(response: httpx.Response, content: bytes) -> object:
    """JSON as a value; anything else as text."""
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content and (media_type == "application/json" or media_type.endswith("+json")):
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            pass  # it says that it is JSON, and is not: the text is all we have
    try:
        return content.decode(response.encoding or "utf-8", errors="replace")
    except LookupError:
        return content.decode(errors="replace")
