"""One engine process as its owner sees it: started, called, and surely gone when killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from agents.engines import frames
from agents.engines.last_words import LastWords
from agents.engines.yielding import Yielded
from domain.errors import PenstockError

ReportSink = Callable[[Mapping[str, object]], Awaitable[None]]

#: The child finds this program, and the user's modules, where its owner does.
_BOOTSTRAP = "import json,sys; sys.path[:]=json.loads(sys.argv[1]); from agents.engines.child import main; main()"


class EngineDied(PenstockError):
    """The engine process ended while it was needed; `how` says by which signal or exit status."""

    def __init__(self, how: str, last_words: str = "") -> None:
        self.how, self.last_words = how, last_words
        super().__init__(f"the engine process {how}" + (f"; its last words: {last_words}" if last_words else ""))


class FunctionRaised(PenstockError):
    """A function in an engine process raised something else than a TaskError."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}" if message else kind)


class EngineProcess:
    """A child process that runs one function at a time. Not for two callers at once."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        assert process.stderr is not None
        self._last_words = LastWords(process.stderr)
        self.calls = 0

    @classmethod
    async def start(cls, *, modules: Sequence[str] = (), memory_bytes_max: int | None = None) -> EngineProcess:
        """A process ready for its first call, the modules imported.

        Raises:
            EngineDied: a module cannot be imported, or the memory bound is too low to start.
        """
        # A session of its own: Ctrl-C at the terminal is for us to handle, and killing the group gets grandchildren.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", _BOOTSTRAP, json.dumps(sys.path)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        engine = cls(process)
        try:
            start = frames.Start(os.getpid(), tuple(modules), memory_bytes_max)
            await engine._exchange(frames.encode(start), None)
        except BaseException:
            await engine.kill()
            raise
        return engine

    @property
    def pid(self) -> int:
        """Process id, also of its process group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process is still there."""
        return self._process.returncode is None

    async def call(
        self,
        function: Callable[..., object],
        args: Sequence[object],
        on_report: ReportSink | None,
        yield_asked: asyncio.Event | None = None,
    ) -> Any:
        """What the function returns over there. A caller that is cancelled must kill the process: it runs on.

        When `yield_asked` is set, the function is asked to stop at its next checkpoint.

        Raises:
            TaskError: as the function raised it.
            Yielded: it has stopped at a checkpoint.
            FunctionRaised: the function raised anything else.
            EngineDied: the process ended before it answered.
        """
        self.calls += 1
        call = frames.Call(function.__module__, function.__qualname__, pickle.dumps(tuple(args)), self.calls)
        if yield_asked is None:
            return await self._exchange(frames.encode(call), on_report)
        asking = asyncio.create_task(self._ask_to_yield(yield_asked, self.calls))
        try:
            return await self._exchange(frames.encode(call), on_report)
        finally:
            asking.cancel()

    async def _ask_to_yield(self, asked: asyncio.Event, number: int) -> None:
        await asked.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(frames.encode(frames.AskToYield(number)))
            await self._process.stdin.drain()

    async def kill(self) -> None:
        """Kill the process and all that it started; returns when it is gone. Safe to repeat, and under cancellation."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await in_spite_of_cancel(self._process.wait())
        self._last_words.close()

    async def _exchange(self, frame: bytes, on_report: ReportSink | None) -> Any:
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):  # the end of the answers says it better
            self._process.stdin.write(frame)
            await self._process.stdin.drain()
        while True:
            match await self._receive():
                case frames.Report(fields):
                    if on_report is not None:
                        await on_report(fields)
                case frames.Returned(value):
                    return value
                case frames.HandedBack(checkpoint):
                    raise Yielded(checkpoint)
                case frames.Raised(error, kind, message):
                    raise FunctionRaised(kind, message) if error is None else error

    async def _receive(self) -> object:
        assert self._process.stdout is not None
        try:
            header = await self._process.stdout.readexactly(frames.HEADER.size)
            return frames.decode(await self._process.stdout.readexactly(*frames.HEADER.unpack(header)))
        except asyncio.IncompleteReadError:
            raise EngineDied(describe_exit(await self._process.wait()), await self._last_words.last_line()) from None


def describe_exit(returncode: int) -> str:
    """How a process ended, in words: `was killed by SIGKILL`, `exited with status 3`."""
    if returncode >= 0:
        return f"exited with status {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was killed by signal {-returncode}"


async def in_spite_of_cancel(work: Coroutine[Any, Any, object]) -> None:
    """Wait for the work's end even while being cancelled; the cancellation is raised afterwards."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
    task.result()
