"""The OpenAI-compatible client against an endpoint that misbehaves on request."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agents.engines.openai_text import OpenAIText
from agents.engines.text import Delta, Generation, Message, TextRequest, Usage
from domain.errors import TaskError
from tests.support.llm_endpoint import Endpoint, llm_endpoint

CHAT = TextRequest(messages=[Message(role="user", content="Hi")], max_tokens=9, temperature=0.5, seed=1, stop=["END"])


async def generate(endpoint: Endpoint, request: TextRequest = CHAT, **options: Any) -> tuple[Generation, list[str]]:
    model, pieces = OpenAIText(endpoint.base_url, model="default-1", api_key="secret", **options), list[str]()

    async def hear(delta: Delta) -> None:
        pieces.append(delta.text)

    try:
        return await model.generate(request, hear), pieces
    finally:
        await model.close()


async def failure(**answers: Any) -> TaskError:
    async with llm_endpoint(**answers) as endpoint:
        with pytest.raises(TaskError) as caught:
            await generate(endpoint, silence_seconds_max=0.3 if answers.get("hang") else 30)
        assert len(endpoint.requests) == 1, "the client must not retry by itself"
    return caught.value


async def test_a_chat_is_streamed_and_its_usage_reported() -> None:
    async with llm_endpoint() as endpoint:
        generation, pieces = await generate(endpoint)
    assert pieces == ["Hello", ", ", "world"]
    assert generation == Generation(
        text="Hello, world", model="fake-1", usage=Usage(prompt_tokens=4, completion_tokens=3), finish_reason="stop"
    )
    asked = endpoint.requests[0]
    assert endpoint.paths == ["/v1/chat/completions"]
    assert asked["model"] == "default-1"
    assert asked["messages"] == [{"role": "user", "content": "Hi"}]
    assert (asked["max_tokens"], asked["temperature"], asked["seed"], asked["stop"]) == (9, 0.5, 1, ["END"])


async def test_a_redirect_is_not_followed_and_headers_of_the_environment_are_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gateway: precious")
    monkeypatch.setenv("OPENAI_ORG_ID", "precious")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "precious")
    async with (
        llm_endpoint() as elsewhere,
        llm_endpoint(status=307, headers={"Location": f"{elsewhere.base_url}/chat/completions"}) as endpoint,
    ):
        with pytest.raises(TaskError, match="sends on to http://127") as caught:
            await generate(endpoint, headers={"X-Key": "other-secret"})
        assert (caught.value.code, caught.value.retryable) == ("provider_not_configured", False)
        assert not elsewhere.requests
        assert "x-key: other-secret" in endpoint.heads[0].lower()
        assert "precious" not in endpoint.heads[0]


async def test_a_prompt_goes_to_the_completion_protocol_and_a_named_model_wins() -> None:
    async with llm_endpoint() as endpoint:
        generation, _ = await generate(endpoint, TextRequest(prompt="Once", max_tokens=5, model="other-2"))
    assert generation.text == "Hello, world"
    assert endpoint.paths == ["/v1/completions"]
    assert (endpoint.requests[0]["prompt"], endpoint.requests[0]["model"]) == ("Once", "other-2")


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (400, "request_refused", False),
        (401, "provider_refused", False),
        (403, "provider_refused", False),
        (404, "model_not_found", False),
        (408, "provider_unavailable", True),
        (422, "request_refused", False),
        (429, "rate_limited", True),
        (500, "provider_unavailable", True),
        (503, "provider_unavailable", True),
    ],
)
async def test_what_a_status_means(status: int, code: str, retryable: bool) -> None:
    error = await failure(status=status, error={"message": "no"})
    assert (error.code, error.retryable) == (code, retryable)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "17"}, 17),
        ({"Retry-After": "0.25"}, 0.25),
        ({"Retry-After": "2", "Retry-After-Ms": "1250"}, 1.25),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
async def test_a_rate_limit_says_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    error = await failure(status=429, headers=headers, error={"message": "slow down"})
    assert error.retry_after_seconds == seconds


async def test_an_empty_account_is_no_rate_limit() -> None:
    error = await failure(status=429, error={"message": "pay first", "code": "insufficient_quota"})
    assert (error.code, error.retryable) == ("provider_quota_exhausted", False)


async def test_half_a_text_is_no_answer() -> None:
    error = await failure(cut=True)
    assert (error.code, error.retryable) == ("provider_unavailable", True)


async def test_silence_ends_the_attempt() -> None:
    error = await failure(hang=True)
    assert (error.code, error.retryable) == ("provider_timeout", True)


async def test_nobody_there_is_worth_another_attempt() -> None:
    async with llm_endpoint() as endpoint:
        pass
    with pytest.raises(TaskError) as caught:
        await generate(endpoint)
    assert (caught.value.code, caught.value.retryable) == ("provider_unreachable", True)


async def test_cancelling_hangs_up_so_that_the_endpoint_stops() -> None:
    async with llm_endpoint(hang=True) as endpoint:
        call = asyncio.create_task(generate(endpoint))
        async with asyncio.timeout(20):
            while not endpoint.requests:
                await asyncio.sleep(0.01)
            call.cancel()
            await endpoint.listener_left.wait()
        with pytest.raises(asyncio.CancelledError):
            await call
