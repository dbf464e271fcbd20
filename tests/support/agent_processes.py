"""Agents without the rest of a system, as an operator starts them: `penstock agents llm`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from penstock.processes import PARENT_ENV

PREPARE_SECONDS_MAX = 120.0
STOP_SECONDS_MAX = 30.0


class Agents:
    """Processes of class llm, in a folder that has their logs."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._environment = {
            **os.environ,
            **environment,
            "PENSTOCK_DATA_DIR": str(folder),
            PARENT_ENV: str(os.getpid()),
        }
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def run(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A `penstock` of these settings."""
        with (self._folder / f"{len(self._processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "penstock", *arguments], env=self._environment, stdout=log, stderr=log
            )
        self._processes.append(process)
        return process

    def start(self) -> subprocess.Popen[bytes]:
        """One more."""
        return self.run("agents", "llm")

    def owners(self) -> int:
        """How many have owned shards."""
        return sum("owns shards" in path.read_text(encoding="utf-8") for path in self._folder.glob("*.log"))

    def stop(self) -> None:
        """All of them, in good order: what has ended is on record, so that no later test runs it again."""
        for process in self._processes:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS_MAX
        for process in self._processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def agents_of(environment: Mapping[str, str], folder: Path) -> Iterator[Agents]:
    """Topics and tables are there, and nobody works yet; whoever is started in the block is stopped at its end."""
    agents = Agents(environment, folder)
    try:
        assert agents.run("prepare").wait(PREPARE_SECONDS_MAX) == 0
        yield agents
    finally:
        agents.stop()
