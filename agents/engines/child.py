"""The engine process: takes calls from its owner one at a time, and ends when its owner does.

Started by `agents.engines.process`, which hands it its sys.path, so that it finds the user's modules.
"""

from __future__ import annotations

import importlib
import io
import os
import pickle
import queue
import threading
from collections.abc import Callable
from typing import BinaryIO

from agents.engines import frames, reporting
from agents.engines.parent_death import die_with_parent
from agents.engines.yielding import Yielded
from domain.errors import TaskError

#: Exit status after a call that ran out of memory: what is left of the process cannot be trusted.
EXIT_OUT_OF_MEMORY = 75
#: Code of the TaskError that comes just before.
OUT_OF_MEMORY = "out_of_memory"


def main() -> None:
    """Serve calls until the owner closes the pipe."""
    requests, replies = _claim_pipes()
    start = frames.read_frame(requests)
    if not isinstance(start, frames.Start):
        return
    die_with_parent(start.parent_pid)
    _bound_memory(start.memory_bytes_max)
    calls: queue.SimpleQueue[object] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests, calls), daemon=True).start()
    lock = threading.Lock()

    def send(frame: bytes) -> None:
        with lock:
            replies.write(frame)
            replies.flush()

    reporting.set_reporter(lambda fields: send(frames.encode(frames.Report(fields))))
    for module in start.modules:
        importlib.import_module(module)
    send(frames.encode(frames.Returned(None)))
    while isinstance(call := calls.get(), frames.Call):
        _answer(call, send)


def _claim_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the pipes for ourselves: what a function prints goes to standard error, what it reads is empty."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = io.BufferedWriter(io.FileIO(os.dup(1), "wb"))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    return requests, replies


def _bound_memory(memory_bytes_max: int | None) -> None:
    if memory_bytes_max is None:
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = memory_bytes_max if hard == resource.RLIM_INFINITY else min(memory_bytes_max, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _receive(requests: BinaryIO, calls: queue.SimpleQueue[object]) -> None:
    """Reads ahead in a thread, so that the owner's end is noticed while a function runs."""
    while (message := frames.read_frame(requests)) is not None:
        if isinstance(message, frames.AskToYield):
            reporting.ask_to_yield(message.number)
        else:
            calls.put(message)
    os._exit(0)


def _answer(call: frames.Call, send: Callable[[bytes], None]) -> None:
    try:
        function: object = importlib.import_module(call.module)
        for part in call.name.split("."):
            function = getattr(function, part)
        assert callable(function)
        reporting.begin_call(call.number)
        value = function(*pickle.loads(call.args))  # noqa: S301 - from our own parent
        reply = frames.encode(frames.Returned(value))
    except Yielded as yielded:
        reply = frames.encode(frames.HandedBack(yielded.checkpoint))
    except TaskError as error:
        reply = frames.encode(frames.Raised(error, "TaskError", str(error)))
    except MemoryError:
        failure = TaskError(OUT_OF_MEMORY, "the function needs more memory than an engine process may use")
        send(frames.encode(frames.Raised(failure, "MemoryError", "")))
        os._exit(EXIT_OUT_OF_MEMORY)
    except Exception as error:
        reply = frames.encode(frames.Raised(None, type(error).__name__, str(error)))
    send(reply)
