"""Other task queues, driven the same way on the same machine in the same run: only such ratios say anything.

Dramatiq with two processes of eight threads and Celery with two processes, both on Redis with its append-only file
flushed every second. They promise less: a power cut loses up to a second of accepted tasks, and there is no history.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from penstock.processes import free_port

ENVIRONMENT = Path(".venv-bench")
REDIS_SECONDS_MAX = 10.0
STOP_SECONDS_MAX = 10.0
DRIVE_SECONDS_MAX = 300.0
REDIS_MISSING = "redis-server is not installed (Debian: apt-get install redis-server)"
ENVIRONMENT_MISSING = f"{ENVIRONMENT} is missing: `make peers` installs the peers' packages there"


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer: its module, and the command that runs its workers."""

    name: str
    module: str
    workers: tuple[str, ...]


PEERS = (
    Peer(
        "dramatiq_redis",
        "benchmarks.peers.dramatiq_peer",
        ("dramatiq", "benchmarks.peers.dramatiq_peer", "--processes", "2", "--threads", "8"),
    ),
    Peer(
        "celery_redis",
        "benchmarks.peers.celery_peer",
        ("celery", "--app", "benchmarks.peers.celery_peer", "worker", "--concurrency", "2", "--loglevel", "ERROR"),
    ),
)


def compare(warm_up: int, tasks: int, samples: int) -> dict[str, Any]:
    """Figures by peer; where they cannot be had, `missing` says why."""
    if (missing := why_not()) is not None:
        return {"missing": missing}
    return {peer.name: _measure(peer, warm_up, tasks, samples) for peer in PEERS}


def why_not() -> str | None:
    """Why the peers cannot be driven here; None where they can."""
    if shutil.which("redis-server") is None:
        return REDIS_MISSING
    return None if (ENVIRONMENT / "bin" / "celery").exists() else ENVIRONMENT_MISSING


def _measure(peer: Peer, warm_up: int, tasks: int, samples: int) -> dict[str, Any]:
    print(f"measuring: {peer.name}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="penstock-peer-") as folder, _redis(Path(folder)) as url:
        environment = os.environ | {"PEER_REDIS_URL": url, "PYTHONPATH": os.getcwd()}
        program, *arguments = peer.workers
        with _running([str(ENVIRONMENT / "bin" / program), *arguments], environment):
            driver = [str(ENVIRONMENT / "bin" / "python"), "-m", peer.module, *map(str, (warm_up, tasks, samples))]
            try:
                done = subprocess.run(
                    driver, env=environment, stdout=subprocess.PIPE, check=True, timeout=DRIVE_SECONDS_MAX
                )
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                return {"missing": str(error)}
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    """The address of a Redis of our own, durable as the peers are usually run."""
    port = free_port()
    options = {"port": port, "bind": "127.0.0.1", "dir": folder, "appendonly": "yes", "appendfsync": "everysec"}
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    with _running(["redis-server", *arguments, "--save", ""], os.environ):
        deadline = time.monotonic() + REDIS_SECONDS_MAX
        while not _answers(port):
            if time.monotonic() > deadline:
                raise TimeoutError(f"redis-server does not answer within {REDIS_SECONDS_MAX:.0f} s")
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"


def _answers(port: int) -> bool:
    probe = subprocess.run(
        ["redis-cli", "-p", str(port), "ping"],  # noqa: S607 - wherever the system has put it
        capture_output=True,
        check=False,
    )
    return probe.stdout.strip() == b"PONG"


@contextmanager
def _running(command: list[str], environment: Mapping[str, str]) -> Iterator[None]:
    """A program with its children, in a session of its own; all of them are gone when the block has ended."""
    process = subprocess.Popen(
        command,
        env=dict(environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for child in children:
            if child.is_running():
                child.kill()
