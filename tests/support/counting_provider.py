"""An OpenAI-compatible endpoint that counts from outside what the limits promise, model by model."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class CountingProvider:
    """Serves each call for a while; refuses calls beyond its own limits, as an account would."""

    #: Calls at a time that each model allows.
    concurrency: Mapping[str, int]
    seconds: float = 0.2
    base_url: str = ""
    running: Counter[str] = field(default_factory=Counter)
    #: Most calls at a time, by model.
    most: Counter[str] = field(default_factory=Counter)
    #: Most calls at a time, over all models.
    most_together: int = 0
    #: Calls beyond the limits, which were answered 429.
    breaches: list[str] = field(default_factory=list)
    #: Prompts that were answered.
    served: Counter[str] = field(default_factory=Counter)
    #: Prompts in the order in which they came.
    prompts: list[str] = field(default_factory=list)
    #: Models whose next call is answered 429, with so many seconds of Retry-After.
    refuse_next: dict[str, float] = field(default_factory=dict)
    #: When each of those was answered, and when its model was called next, by the monotonic clock.
    refused_at: dict[str, float] = field(default_factory=dict)
    called_after: dict[str, float] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one call: over when it is answered, or when its caller is gone."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lengths = [
                line.partition(":")[2] for line in head.split("\r\n") if line.lower().startswith("content-length")
            ]
            request = json.loads(await reader.readexactly(int(lengths[0])))
            await self._call(request["model"], request["messages"][-1]["content"], reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _call(self, model: str, prompt: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if model in self.refused_at:
            self.called_after.setdefault(model, time.monotonic())
        if (seconds := self.refuse_next.pop(model, None)) is not None:
            self.refused_at[model] = time.monotonic()
            _refuse(writer, {"Retry-After": str(seconds)})
            return
        self.prompts.append(prompt)
        self.running[model] += 1
        self.most[model] = max(self.most[model], self.running[model])
        self.most_together = max(self.most_together, self.running.total())
        try:
            if self.running[model] > self.concurrency[model]:
                self.breaches.append(model)
                _refuse(writer, {})
                return
            gone = asyncio.create_task(reader.read())
            done, _ = await asyncio.wait({gone}, timeout=self.seconds)
            gone.cancel()
            if not done:
                _answer(writer, model, tokens(prompt))
                self.served[prompt] += 1
        finally:
            self.running[model] -= 1


def _refuse(writer: asyncio.StreamWriter, headers: Mapping[str, str]) -> None:
    body = json.dumps({"error": {"message": "slow down", "code": "rate_limit_exceeded"}})
    _write(writer, "429 Too Many Requests", {"Content-Type": "application/json", **headers}, body)


def tokens(prompt: str) -> int:
    """What the provider counts for a prompt: its words."""
    return len(prompt.split())


def _answer(writer: asyncio.StreamWriter, model: str, prompt_tokens: int) -> None:
    base: dict[str, Any] = {"id": "1", "created": 0, "model": model, "object": "chat.completion.chunk"}
    choice = {"index": 0, "delta": {"content": "done"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 1, "total_tokens": prompt_tokens + 1}
    chunks = [{**base, "choices": [choice]}, {**base, "choices": [], "usage": usage}]
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    _write(writer, "200 OK", {"Content-Type": "text/event-stream"}, body)


def _write(writer: asyncio.StreamWriter, status: str, headers: Mapping[str, str], body: str) -> None:
    lines = [f"HTTP/1.1 {status}", "Connection: close", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())


@asynccontextmanager
async def counting_provider(concurrency: Mapping[str, int], **settings: Any) -> AsyncIterator[CountingProvider]:
    """A running one."""
    provider = CountingProvider(concurrency, **settings)
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    provider.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield provider
    finally:
        server.close()
