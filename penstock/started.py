"""A whole system in other processes, as a user starts it: what the demo, the benchmarks and the tests stand on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx

from penstock.errors import NotRunning
from penstock.installation import Installation, RunningSystem
from penstock.processes import free_port

START_SECONDS_MAX = 180.0
STOP_SECONDS_MAX = 30.0


@contextmanager
def started(
    folder: Path,
    *,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    output: IO[str] | None = None,
    port: int | None = None,
) -> Iterator[RunningSystem]:
    """`penstock up` on a folder and a port, ready when the block begins and stopped when it has ended.

    A port is found where none is given. `output` takes what `up` prints; standard error where none is given.

    Raises:
        NotRunning: it ended, or was not ready in time; what it printed says why.
    """
    port = port or free_port()
    command = [sys.executable, "-m", "penstock", "up", "--data", str(folder), "--port", str(port), *arguments]
    process = subprocess.Popen(
        command,
        env=os.environ | dict(environment or {}),
        stdout=output or sys.stderr,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        _wait_until_ready(process, f"http://127.0.0.1:{port}/ready")
        yield Installation(folder).running()
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise NotRunning(
                f"`penstock up` ended with {process.returncode} before it was ready.",
                remedy="Its output above and the logs in its data folder say why.",
            )
        try:
            if httpx.get(url, timeout=2, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise NotRunning(
        f"{url} was not ready within {START_SECONDS_MAX:.0f} s.",
        remedy="`penstock doctor` and the logs in the data folder say what is missing.",
    )
