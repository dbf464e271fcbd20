"""Functions as a user would register them, for tests of the whole system."""

import asyncio
import os
import signal
from pathlib import Path

from agents.handlers.registry import function


@function("kill_worker")
async def kill_worker() -> dict[str, object]:
    """Takes its worker process along, every time."""
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


@function("pause")
async def pause(seconds: float) -> dict[str, object]:
    """Occupies a slot."""
    await asyncio.sleep(seconds)
    return {"slept_seconds": seconds}


@function("note")
def note(path: str, line: str) -> dict[str, object]:
    """A side effect that can be counted."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    return {"line": line}


@function("fail")
async def fail(message: str) -> dict[str, object]:
    """Fails every time."""
    raise RuntimeError(message)


@function("spin")
def spin() -> dict[str, object]:
    """Never ends, and listens to nobody."""
    while True:
        pass
