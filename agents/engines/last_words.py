"""The end of what an engine process wrote to standard error: it explains a death."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

LINES_MAX = 20
LINE_BYTES_MAX = 8192


class LastWords:
    """Reads a process's standard error for as long as it lives, and keeps its last lines."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self._listener = asyncio.create_task(self._listen(stream))

    async def last_line(self) -> str:
        """The last line, which for a Python traceback is the exception; empty if it said nothing."""
        with contextlib.suppress(TimeoutError):  # a grandchild may hold the pipe open
            await asyncio.wait_for(asyncio.shield(self._listener), 0.5)
        return self._lines[-1] if self._lines else ""

    def close(self) -> None:
        """Stop reading."""
        self._listener.cancel()

    async def _listen(self, stream: asyncio.StreamReader) -> None:
        pending = b""
        while chunk := await stream.read(LINE_BYTES_MAX):
            *lines, pending = (pending + chunk).split(b"\n")
            pending = pending[-LINE_BYTES_MAX:]
            self._lines.extend(line.decode(errors="replace") for line in lines if line.strip())
        if pending.strip():
            self._lines.append(pending.decode(errors="replace"))
