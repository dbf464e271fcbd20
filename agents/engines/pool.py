"""A bounded number of engine processes that run Python functions: the only way to stop one that will not listen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from agents.engines.child import OUT_OF_MEMORY
from agents.engines.process import EngineDied, EngineProcess, FunctionRaised, ReportSink
from agents.engines.yielding import Yielded
from domain.errors import TaskError

#: A process is replaced after so many calls, so that what user functions leak stays bounded.
CALLS_PER_PROCESS_MAX = 1000


class EnginePool:
    """Runs functions in processes of its own, started when first needed and kept warm.

    A call that is cancelled or takes too long has its process killed; by the time the caller learns of it,
    the process is gone. The pool replaces it at the next call. Use it from one event loop, in a thread that lives
    as long as the program (see `parent_death`).
    """

    def __init__(self, processes_max: int, *, modules: Sequence[str] = (), memory_bytes_max: int | None = None) -> None:
        self._slots = asyncio.Semaphore(processes_max)
        self._modules = tuple(modules)
        self._memory_bytes_max = memory_bytes_max
        self._idle: list[EngineProcess] = []
        self._all: set[EngineProcess] = set()
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """Process ids of the engine processes that are alive now."""
        return [process.pid for process in self._all if process.alive]

    async def run(
        self,
        function: Callable[..., object],
        *args: object,
        timeout_seconds: float | None = None,
        on_report: ReportSink | None = None,
        yield_asked: asyncio.Event | None = None,
    ) -> Any:
        """What `function(*args)` returns in an engine process. The function lies at the top level of a module.

        Raises:
            Yielded: it has stopped at a checkpoint, since `yield_asked` was set.
            TaskError: as the function raised it; `handler_error` for any other exception of its; `engine_died` when
                the process ended under it; `timeout` after `timeout_seconds`, waiting for a process not counted.
            ValueError: the function cannot be found by name from another process.
        """
        check_reachable(function)
        async with self._slots:
            process = await self._take()
            try:
                async with asyncio.timeout(timeout_seconds):
                    value = await process.call(function, args, on_report, yield_asked)
            except Yielded:
                await self._put_back(process)
                raise
            except (TaskError, FunctionRaised) as error:
                # A process that ran out of memory ends itself; it must not be met by the next call on its way out.
                out_of_memory = isinstance(error, TaskError) and error.code == OUT_OF_MEMORY
                await (self._discard if out_of_memory else self._put_back)(process)
                if isinstance(error, TaskError):
                    raise
                raise TaskError("handler_error", str(error), retryable=True) from error
            except EngineDied as error:
                await self._discard(process)
                raise TaskError("engine_died", str(error), retryable=True) from error
            except TimeoutError:
                await self._discard(process)
                detail = f"{function.__qualname__} took longer than {timeout_seconds} s; its process was killed"
                raise TaskError("timeout", detail, retryable=True) from None
            except BaseException:
                await self._discard(process)
                raise
            await self._put_back(process)
            return value

    async def warm_up(self) -> None:
        """Start one process ahead of the first call, so that it does not pay for the imports."""
        async with self._slots:
            await self._put_back(await self._take())

    async def close(self) -> None:
        """Kill every process, idle or busy; returns when they are gone."""
        self._closed = True
        await asyncio.gather(*(self._discard(process) for process in list(self._all)))

    async def _take(self) -> EngineProcess:
        while self._idle:
            process = self._idle.pop()
            if process.alive:
                return process
            await self._discard(process)
        if self._closed:
            raise TaskError("shutting_down", "the engine pool is closed", retryable=True)
        try:
            process = await EngineProcess.start(modules=self._modules, memory_bytes_max=self._memory_bytes_max)
        except EngineDied as error:
            raise TaskError("engine_died", f"{error} (while it started)", retryable=True) from error
        self._all.add(process)
        return process

    async def _put_back(self, process: EngineProcess) -> None:
        if self._closed or not process.alive or process.calls >= CALLS_PER_PROCESS_MAX:
            await self._discard(process)
        else:
            self._idle.append(process)

    async def _discard(self, process: EngineProcess) -> None:
        self._all.discard(process)
        if process in self._idle:
            self._idle.remove(process)
        await process.kill()


def check_reachable(function: Callable[..., object]) -> None:
    """Refuse a function that another process cannot import.

    Raises:
        ValueError: it is nested, a lambda, or defined in the program that was started.
    """
    name = getattr(function, "__qualname__", "")
    if not name or "<" in name or function.__module__ == "__main__":
        raise ValueError(
            f"{function!r} cannot run in an engine process: define it at the top level of an importable module"
        )
