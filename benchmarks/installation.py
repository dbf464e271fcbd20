"""A whole system of the benchmark's own, as a user starts it: `penstock up` in another process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from penstock.installation import Installation, RunningSystem
from penstock.processes import free_port

START_SECONDS_MAX = 180.0
STOP_SECONDS_MAX = 30.0


@contextmanager
def running_installation(folder: Path, *, slots: int) -> Iterator[RunningSystem]:
    """A ready system with the class `cpu` alone, stopped when the block ends.

    Raises:
        TimeoutError: it was not ready in time; its output says why.
    """
    port = free_port()
    command = [sys.executable, "-m", "penstock", "up", "--data", str(folder), "--port", str(port), "--classes", "cpu"]
    environment = os.environ | {
        "PENSTOCK_CLASSES": f'{{"cpu": {{"slots": {slots}}}}}',
        "PENSTOCK_MAX_QUEUE_SIZE": "1000000",
        "PENSTOCK_LOG_LEVEL": "WARNING",
    }
    process = subprocess.Popen(command, env=environment, stdout=sys.stderr, start_new_session=True)
    try:
        _wait_until_ready(process, f"http://127.0.0.1:{port}/ready")
        yield Installation(folder).running()
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"penstock up ended with {process.returncode} before it was ready")
        try:
            if httpx.get(url, timeout=2, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise TimeoutError(f"{url} did not answer 200 within {START_SECONDS_MAX:.0f} s")
