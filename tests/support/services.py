"""Real services for tests: one embedded Kafka and one PostgreSQL a session, started when first asked for."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.embedded.kafka import is_kafka_ready
from penstock.embedded.postgres import PostgresPlace, is_postgres_ready
from penstock.processes import PARENT_ENV, free_port

READY_TIMEOUT_SECONDS = 120
STOP_TIMEOUT_SECONDS = 15
REPOSITORY = Path(__file__).parents[2]


@contextmanager
def embedded_kafka(folder: Path) -> Iterator[str]:
    """The bootstrap address of a broker of our own, stopped and forgotten at the end."""
    port, controller_port = free_port(), free_port()
    arguments = ["kafka", str(folder), "--port", str(port), "--controller-port", str(controller_port)]
    with _running(arguments, folder / "service.log") as process:
        _wait_until_ready(lambda: is_kafka_ready(f"127.0.0.1:{port}"), process, folder / "service.log")
        yield f"127.0.0.1:{port}"
        # Nothing in the folder is wanted any more, so the broker need not write it out.
        process.kill()


@contextmanager
def embedded_postgres(folder: Path) -> Iterator[str]:
    """The address of a server of our own, as libpq and SQLAlchemy read it."""
    uri = PostgresPlace(folder=folder).uri()
    with _running(["postgres", str(folder), "--not-durable"], folder / "service.log") as process:
        _wait_until_ready(lambda: is_postgres_ready(uri), process, folder / "service.log")
        yield uri
        # SIGQUIT is PostgreSQL's immediate stop: its other processes go too.
        process.send_signal(signal.SIGQUIT)


@contextmanager
def _running(arguments: list[str], log_file: Path) -> Iterator[subprocess.Popen[bytes]]:
    log_file.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {PARENT_ENV: str(os.getpid()), "PYTHONPATH": str(REPOSITORY)}
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "penstock.embedded", *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(
    is_ready: Callable[[], Awaitable[bool]], process: subprocess.Popen[bytes], log_file: Path
) -> None:
    async def wait() -> None:
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while not await is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"a test service did not start:\n{log_file.read_text(errors='replace')[-4000:]}")
            await asyncio.sleep(0.1)

    asyncio.run(wait())
