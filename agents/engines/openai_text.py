"""Text from any endpoint that speaks OpenAI's chat or completion protocol."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agents.engines.text import Begun, Delta, DeltaSink, Generation, TextRequest, Usage
from agents.retry_after import retry_after_seconds
from domain import provider_errors as codes
from domain.errors import TaskError

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

CONNECT_SECONDS_MAX = 10.0
#: How much of an endpoint's own words an error repeats.
DETAIL_CHARACTERS_MAX = 500


async def load_client() -> Any:
    """The client library. Its first import takes seconds of a busy machine, and the event loop goes on meanwhile."""
    return await asyncio.to_thread(importlib.import_module, "openai")


class OpenAIText:
    """One endpoint. The connection pool belongs to the event loop that first uses it."""

    def __init__(
        self,
        base_url: str,
        *,
        model: str,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        silence_seconds_max: float = 120.0,
        ask_for_usage: bool = True,
    ) -> None:
        self._base_url, self._model, self._api_key = base_url, model, api_key
        self._headers = dict(headers or {})
        self._silence_seconds_max, self._ask_for_usage = silence_seconds_max, ask_for_usage
        self._client: AsyncOpenAI | None = None

    @property
    def resumable(self) -> bool:
        """Never: what a remote call has cost is lost when it is left."""
        return False

    async def warm_up(self) -> None:
        """Open the client."""
        await self._open()

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def generate(self, request: TextRequest, on_delta: DeltaSink) -> Generation:
        """See TextModel. Cancelling closes the stream, by which the endpoint knows that nobody listens."""
        openai = await load_client()
        client = await self._open()
        try:
            async with await self._request(client, request) as stream:
                return await _read(stream, request.model or self._model, on_delta, request.begun)
        except openai.APITimeoutError as error:
            detail = f"{self._base_url} was silent for {self._silence_seconds_max} s"
            raise TaskError(codes.TIMED_OUT, detail, retryable=True) from error
        except openai.APIStatusError as error:
            raise _refused(error, datetime.now(UTC)) from error
        except openai.APIConnectionError as error:
            detail = f"cannot reach {self._base_url}: {error.__cause__ or error}"
            raise TaskError(codes.UNREACHABLE, detail, retryable=True) from error
        except openai.APIError as error:
            raise TaskError(codes.UNAVAILABLE, f"{self._base_url} broke off: {error}", retryable=True) from error

    async def _open(self) -> AsyncOpenAI:
        if self._client is None:
            openai = await load_client()
            timeout = openai.Timeout(self._silence_seconds_max, connect=CONNECT_SECONDS_MAX)
            self._client = openai.AsyncOpenAI(
                base_url=self._base_url,
                # The library insists on a key, even for endpoints that want none.
                api_key=self._api_key or "none",
                timeout=timeout,
                # Attempts are counted, delayed and recorded by the scheduler.
                max_retries=0,
                # A redirect would take headers, which may hold keys, to an address that nobody allowed.
                http_client=openai.DefaultAsyncHttpxClient(timeout=timeout, follow_redirects=False),
            )
            # The library takes headers from OPENAI_CUSTOM_HEADERS, OPENAI_ORG_ID and OPENAI_PROJECT_ID too, and sends
            # them to whatever address it is given.
            self._client.organization = self._client.project = None
            self._client._custom_headers = self._headers
        return self._client

    async def _request(self, client: AsyncOpenAI, request: TextRequest) -> Any:
        fields: dict[str, Any] = {
            "model": request.model or self._model,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "stop": list(request.stop) or None,
            "seed": request.seed,
            "stream_options": {"include_usage": True} if self._ask_for_usage else None,
        }
        given = {name: value for name, value in fields.items() if value is not None}
        if request.begun is not None:
            given["extra_body"] = {"resume_tokens": list(request.begun.tokens)}
        if request.prompt is not None:
            return await client.completions.create(prompt=request.prompt, stream=True, **given)
        messages: Any = [{"role": message.role, "content": message.content} for message in request.messages]
        return await client.chat.completions.create(messages=messages, stream=True, **given)


async def _read(stream: AsyncIterator[Any], model: str, on_delta: DeltaSink, begun: Begun | None) -> Generation:
    pieces: list[str] = []
    usage, finish_reason = Usage(), None
    # Characters that come again, since the text is told from its beginning.
    known = len(begun.text) if begun is not None else 0
    async for chunk in stream:
        model = chunk.model or model
        if chunk.usage is not None:
            usage = Usage(prompt_tokens=chunk.usage.prompt_tokens, completion_tokens=chunk.usage.completion_tokens)
        for choice in chunk.choices[:1]:
            piece = choice.delta.content if hasattr(choice, "delta") else choice.text
            tokens = (chunk.model_extra or {}).get("tokens", ())
            pieces.append(piece or "")
            if piece or tokens:
                await on_delta(Delta(text=(piece or "")[known:], tokens=tokens))
            known = max(0, known - len(piece or ""))
            finish_reason = choice.finish_reason or finish_reason
    if finish_reason is None:
        raise TaskError(codes.UNAVAILABLE, "the stream ended before the text did", retryable=True)
    return Generation(text="".join(pieces), model=model, usage=usage, finish_reason=finish_reason)


def _refused(error: APIStatusError, now: datetime) -> TaskError:
    """What an error status means for the task.

    Source: https://platform.openai.com/docs/guides/error-codes; other providers follow it.
    """
    status, words = error.status_code, str(error.message)[:DETAIL_CHARACTERS_MAX]
    wait_seconds = retry_after_seconds(error.response.headers, now)
    match status:
        # An exhausted account answers 429 too, and no waiting fills it.
        case 429 if error.code == "insufficient_quota":
            return TaskError(codes.QUOTA_EXHAUSTED, words)
        case 429:
            return TaskError(codes.RATE_LIMITED, words, retryable=True, retry_after_seconds=wait_seconds)
        case 408 | 409 | 425:
            return TaskError(codes.UNAVAILABLE, words, retryable=True, retry_after_seconds=wait_seconds)
        case 402:
            return TaskError(codes.QUOTA_EXHAUSTED, words)
        case _ if status < 400:
            to = error.response.headers.get("location", "another address")
            return TaskError(codes.NOT_CONFIGURED, f"HTTP {status}: it sends on to {to[:200]}; set base_url to that")
        case 401 | 403:
            return TaskError(codes.REFUSED, f"HTTP {status}: {words}; check the provider's api_key")
        case 404:
            return TaskError(codes.MODEL_NOT_FOUND, f"HTTP 404: {words}; check base_url and the model's name")
        case _ if status >= 500:
            return TaskError(codes.UNAVAILABLE, words, retryable=True, retry_after_seconds=wait_seconds)
        case _:
            return TaskError(codes.REQUEST_REFUSED, f"HTTP {status}: {words}")
