"""An OpenAI-compatible endpoint on 127.0.0.1 that answers as a test tells it to, well or badly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Endpoint:
    """What it answers, and what it was asked."""

    base_url: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    error: Mapping[str, Any] = field(default_factory=dict)
    pieces: Sequence[str] = ("Hello", ", ", "world")
    #: Break off, or fall silent, after the pieces.
    cut: bool = False
    hang: bool = False
    requests: list[Mapping[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    #: The heads of those requests, as they came.
    heads: list[str] = field(default_factory=list)
    #: Paths that were asked for by GET.
    probes: list[str] = field(default_factory=list)
    #: Hold each answer back until it is set.
    answering: asyncio.Event | None = None
    #: Answers under way, and the most there ever were.
    busy: int = 0
    busy_max: int = 0
    listener_left: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            if head.startswith("GET "):
                self.probes.append(head.split(" ")[1])
                writer.write(f"HTTP/1.1 {self.status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
                await writer.drain()
                return
            length = next(
                int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-l")
            )
            self.requests.append(json.loads(await reader.readexactly(length)))
            self.paths.append(head.split(" ")[1])
            self.heads.append(head)
            self.busy += 1
            self.busy_max = max(self.busy_max, self.busy)
            try:
                if self.answering is not None:
                    await self.answering.wait()
                await self._answer(reader, writer)
            finally:
                self.busy -= 1
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kind = "text/event-stream" if self.status == 200 else "application/json"
        lines = [f"HTTP/1.1 {self.status} X", f"Content-Type: {kind}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        if self.status != 200:
            writer.write(json.dumps({"error": self.error}).encode())
            return
        for chunk in self._chunks():
            writer.write(f"data: {json.dumps(chunk)}\n\n".encode())
        if self.hang:
            try:
                await writer.drain()
                await reader.read()
            finally:
                self.listener_left.set()
        elif not self.cut:
            writer.write(b"data: [DONE]\n\n")
        await writer.drain()

    def _chunks(self) -> list[Mapping[str, Any]]:
        chat = self.paths[-1].endswith("/chat/completions")
        base = {"id": "1", "created": 0, "model": "fake-1", "object": "chunk"}
        ends = [None] * len(self.pieces) + ([] if self.cut or self.hang else ["stop"])
        chunks: list[Mapping[str, Any]] = []
        for piece, end in zip([*self.pieces, ""], ends, strict=False):
            choice = {"delta": {"content": piece}} if chat else {"text": piece}
            chunks.append({**base, "choices": [{"index": 0, "finish_reason": end, **choice}]})
        usage = {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}
        return [*chunks, {**base, "choices": [], "usage": usage}]


@asynccontextmanager
async def llm_endpoint(**answers: Any) -> AsyncIterator[Endpoint]:
    """A running endpoint."""
    endpoint = Endpoint(**answers)
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    endpoint.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield endpoint
    finally:
        server.close()
