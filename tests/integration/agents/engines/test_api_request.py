"""`api_request` over real sockets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.handlers.registry import load_handlers
from agents.handlers.running import run_handler
from agents.handlers.settings import HandlerSettings, HttpSettings
from domain.errors import TaskError
from tests.support.contexts import context
from tests.support.llm_endpoint import llm_endpoint


async def send(payload: dict[str, Any], settings: HttpSettings | None = None) -> dict[str, Any]:
    async with context(HandlerSettings(http=settings or HttpSettings())) as ctx:
        result: dict[str, Any] = json.loads(await run_handler(load_handlers().get("api_request"), payload, ctx))
    return result


async def test_a_request_by_name_arrives_whole() -> None:
    async with llm_endpoint(pieces=["x"]) as endpoint:
        url = endpoint.base_url.replace("127.0.0.1", "localhost") + "/completions"
        result = await send({"method": "POST", "url": url, "json": {"prompt": "hi"}})
    assert endpoint.requests == [{"prompt": "hi"}]
    assert result["status"] == 200
    assert result["url"] == url
    assert "data: [DONE]" in result["body"]


async def test_the_loopback_can_be_closed_by_setting() -> None:
    async with llm_endpoint() as endpoint:
        with pytest.raises(TaskError) as caught:
            await send({"url": endpoint.base_url}, HttpSettings(allow_private=False))
    assert (caught.value.code, caught.value.retryable) == ("address_refused", False)
    assert endpoint.requests == []


async def test_an_answer_that_does_not_come_ends_the_attempt() -> None:
    async with llm_endpoint(hang=True) as endpoint:
        with pytest.raises(TaskError) as caught:
            await send({"method": "POST", "url": endpoint.base_url, "json": {}, "timeout_seconds": 0.3})
    assert (caught.value.code, caught.value.retryable) == ("http_timeout", True)


@pytest.mark.parametrize("url", ["http://localhost:9/", "http://no-such-host.invalid/"])
async def test_nobody_there_is_worth_another_attempt(url: str) -> None:
    with pytest.raises(TaskError) as caught:
        await send({"url": url})
    assert (caught.value.code, caught.value.retryable) == ("http_unreachable", True)
