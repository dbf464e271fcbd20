"""A local model behind llama-cpp-python's own server (see `llama_service`): one supervised process a model instance.

The server speaks OpenAI's protocol, so that local and remote models are used alike; being a process, it can be
killed, and its death costs one attempt. It works on one request at a time, so requests queue here, where waiting
ones can be cancelled without touching the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agents.engines import launch
from agents.engines.last_words import LastWords
from agents.engines.llama_config import LlamaConfig, config_file
from agents.engines.process import EngineDied, describe_exit, in_spite_of_cancel
from domain.errors import TaskError

if TYPE_CHECKING:
    import httpx

#: How long a server may go on after its listener left, before it is killed.
STOP_GRACE_SECONDS = 1.5
#: Wait before a restart: doubled with each death in a row, up to the limit.
RESTART_SECONDS = 0.5
RESTART_SECONDS_MAX = 30.0
#: A server that lived for so long was well; its next death counts as the first.
WELL_AFTER_SECONDS = 60.0
#: How often somebody looks whether a death was noticed.
NOTICE_SECONDS = 0.01
#: Threads that wait for each other sleep. Spinning, the default, made a model on a busy machine seven times slower.
_WAIT_POLICY = "passive"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a running server listens, and the key that only its owner knows."""

    base_url: str
    api_key: str

    def client(self, timeout_seconds: float) -> httpx.AsyncClient:
        """A client for a question or two. It loads no certificates, which takes long and serves nothing on loopback."""
        import httpx

        return httpx.AsyncClient(
            timeout=timeout_seconds,
            trust_env=False,
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            headers={"Authorization": f"Bearer {self.api_key}"},
        )


class LlamaServer:
    """Supervises one server process: started at first need, restarted with back-off when it dies.

    Use it from one event loop, in a thread that lives as long as the program (see `parent_death`).
    """

    def __init__(self, config: LlamaConfig) -> None:
        self._config = config
        self._lock = asyncio.Lock()
        self._supervisor: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[Endpoint] | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the server; None while none runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @property
    def ready(self) -> bool:
        """Whether a request would be served at once, or after those before it."""
        return self.pid is not None and self._ready is not None and self._ready.done()

    async def warm_up(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            TaskError: `engine_died` when this start failed; another one follows after a pause.
        """
        await self._endpoint()

    @contextlib.asynccontextmanager
    async def lease(self) -> AsyncIterator[Endpoint]:
        """The server for one request alone. Whoever leaves by an exception leaves it idle, or killed.

        Raises:
            TaskError: `engine_died` when the server died meanwhile, or could not be started.
        """
        async with self._lock:
            endpoint = await self._endpoint()
            process = self._process
            assert process is not None
            try:
                yield endpoint
            except TaskError as error:
                await in_spite_of_cancel(self._stop_request(process, endpoint))
                if process.returncode is not None and error.retryable:
                    how = describe_exit(process.returncode)
                    raise TaskError("engine_died", f"the model server {how}", retryable=True) from error
                raise
            except BaseException:
                await in_spite_of_cancel(self._stop_request(process, endpoint))
                raise

    async def close(self) -> None:
        """Kill the server and stop supervising; returns when it is gone."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
            if self._ready is not None and not self._ready.done():
                self._ready.set_exception(_closed())
                self._ready.exception()  # nobody may be waiting for it
            self._supervisor = self._ready = None

    async def _endpoint(self) -> Endpoint:
        if self._supervisor is None or self._supervisor.done():
            self._ready = asyncio.get_running_loop().create_future()
            self._supervisor = asyncio.create_task(self._supervise())
        while self._ready is not None and self._ready.done() and self.pid is None:  # noqa: ASYNC110 - a turn or two
            # It has died, and its supervisor is about to notice.
            await asyncio.sleep(NOTICE_SECONDS)
        if self._ready is None:
            raise _closed()
        return await asyncio.shield(self._ready)

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        deaths = 0
        while True:
            assert self._ready is not None
            try:
                async with self._run() as (process, endpoint):
                    self._ready.set_result(endpoint)
                    started = loop.time()
                    await process.wait()
                    deaths = 0 if loop.time() - started > WELL_AFTER_SECONDS else deaths
            except EngineDied as error:
                self._ready.set_exception(TaskError("engine_died", f"model server: {error}", retryable=True))
                self._ready.exception()  # nobody may be waiting for it
            deaths += 1
            self._ready = loop.create_future()
            await asyncio.sleep(min(RESTART_SECONDS * 2 ** (deaths - 1), RESTART_SECONDS_MAX))

    @contextlib.asynccontextmanager
    async def _run(self) -> AsyncIterator[tuple[asyncio.subprocess.Process, Endpoint]]:
        """A server that answers; killed on the way out, whatever happened."""
        port, api_key = free_port(self._config.ports), secrets.token_urlsafe(24)
        endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", api_key)
        with _claim(port), config_file(self._config, port, api_key) as path:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", str(Path(launch.__file__)), str(os.getpid())),
                *("agents.engines.llama_service", "--config_file", str(path)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                env={**os.environ, "OMP_WAIT_POLICY": _WAIT_POLICY},
            )
            assert process.stderr is not None
            last_words = LastWords(process.stderr)
            self._process = process
            try:
                await self._until_answering(process, endpoint, last_words)
                yield process, endpoint
            finally:
                await in_spite_of_cancel(_kill(process))
                last_words.close()

    async def _until_answering(
        self, process: asyncio.subprocess.Process, endpoint: Endpoint, last_words: LastWords
    ) -> None:
        try:
            async with asyncio.timeout(self._config.start_seconds_max):
                while not await _answers(endpoint, timeout_seconds=self._config.start_seconds_max):
                    if process.returncode is not None:
                        raise EngineDied(describe_exit(process.returncode), await last_words.last_line())
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise EngineDied(f"did not answer within {self._config.start_seconds_max} s") from None

    async def _stop_request(self, process: asyncio.subprocess.Process, endpoint: Endpoint) -> None:
        """Make sure that nothing of the last request still runs: a busy server does not list its models."""
        if not await _answers(endpoint, timeout_seconds=STOP_GRACE_SECONDS):
            await _kill(process)


def _closed() -> TaskError:
    return TaskError("engine_died", "the model server was closed", retryable=True)


#: Ports that servers of this process have, or are about to have: two that start together must not meet at one.
_claimed: set[int] = set()


def free_port(preferred: tuple[int, ...]) -> int:
    """The first preferred port of 127.0.0.1 that is free now, else any free one."""
    for port in (*(port for port in preferred if port not in _claimed), 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise TaskError("engine_died", "no port of 127.0.0.1 is free", retryable=True)


@contextlib.contextmanager
def _claim(port: int) -> Iterator[None]:
    _claimed.add(port)
    try:
        yield
    finally:
        _claimed.discard(port)


async def _answers(endpoint: Endpoint, timeout_seconds: float) -> bool:
    """Whether our own server, and no other on the port, answers within the time."""
    import httpx

    try:
        async with endpoint.client(timeout_seconds) as client:
            response = await client.get(f"{endpoint.base_url}/models")
            return response.status_code == 200
    except httpx.HTTPError:
        return False


async def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
