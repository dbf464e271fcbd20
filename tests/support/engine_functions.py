"""What tests run in engine processes: top-level functions of an importable module, as users write them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping

from pydantic import BaseModel

from agents.context import ProcessContext
from agents.engines.reporting import report
from domain.errors import TaskError


class Numbers(BaseModel):
    """Payload of `total`."""

    numbers: list[int]


def total(payload: Numbers, ctx: ProcessContext) -> Mapping[str, object]:
    """Add up, in a process of its own."""
    ctx.progress(percent=50, message=ctx.task_id)
    ctx.heartbeat()
    return {"total": sum(payload.numbers), "pid": os.getpid()}


def add(a: int, b: int) -> int:
    return a + b


def own_pid() -> int:
    return os.getpid()


def raise_value_error() -> None:
    raise ValueError("not today")


def raise_task_error() -> None:
    raise TaskError("busy", "come back", retryable=True, retry_after_seconds=7.0)


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fault() -> None:
    ctypes.string_at(0)


def leave() -> None:
    raise SystemExit(3)


def spin_for_ever() -> None:
    report(message=str(os.getpid()))
    while True:
        pass


def spin_with_a_child() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    report(message=str(child.pid))
    while True:
        pass


def take_memory(size_bytes: int) -> int:
    return len(bytearray(size_bytes))


def print_and_read() -> str:
    print("this must not get into the answers")
    return sys.stdin.read()


def unpicklable() -> object:
    return lambda: None


class Count(BaseModel):
    """Payload of `count_on`."""

    until: int = 10**9


def count_on(payload: Count, ctx: ProcessContext) -> Mapping[str, object]:
    """Count from the checkpoint, one step at a time."""
    number = ctx.checkpointed["number"] if ctx.checkpointed else 0
    ctx.used(prompt_tokens=3)
    while number < payload.until:
        number += 1
        ctx.checkpoint({"number": number})
    return {"number": number, "pid": os.getpid()}
