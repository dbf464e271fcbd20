"""One supervised process: started in a session of its own, logged to a bounded file, stopped with all it started."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.processes import PARENT_ENV, identity

LOG_BYTES_MAX = 10 * 1024 * 1024
LOGS_KEPT = 3


@dataclass(frozen=True, slots=True)
class Child:
    """A started process; `created_at` (seconds since the epoch) tells it from a later one with the same id."""

    process: asyncio.subprocess.Process
    created_at: float

    @property
    def pid(self) -> int:
        """Its process id, which is its process group's id too."""
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not been seen to end."""
        return self.process.returncode is None

    async def exited(self) -> int:
        """Wait for its end; the exit status, negative for the signal that killed it."""
        return await self.process.wait()

    async def stop(self, stop_signal: signal.Signals, within_seconds: float) -> bool:
        """Ask it to stop, and kill its whole group when it has not in time; whether it stopped by itself."""
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(stop_signal)
        try:
            await asyncio.wait_for(self.process.wait(), within_seconds)
        except TimeoutError:
            return False
        finally:
            self.kill_group()
        return True

    def kill_group(self) -> None:
        """Kill what it started and left behind, and itself; nothing is left to clean afterwards."""
        kill_group(self.pid)


async def start_child(command: list[str], log_file: Path, environment: Mapping[str, str]) -> Child:
    """Start a process that is told to die with this one."""
    rotate(log_file)
    # Appending, so that the file may be cut while it is written to.
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**environment, PARENT_ENV: str(os.getpid())},
            start_new_session=True,
        )
    finally:
        os.close(log)
    return Child(process, identity(process.pid) or 0.0)


def kill_group(pid: int) -> None:
    """Kill every process of the group that `pid` leads; nothing happens where there is none."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def rotate(log_file: Path, bytes_max: int = LOG_BYTES_MAX) -> None:
    """Move a log that has grown beyond its bound aside, keeping LOGS_KEPT of them.

    Copied and cut, since its writer goes on writing to the same file: a few lines may be lost at the cut.
    """
    if not log_file.exists() or log_file.stat().st_size <= bytes_max:
        return
    for number in range(LOGS_KEPT - 1, 0, -1):
        older = log_file.with_name(f"{log_file.name}.{number}")
        if older.exists():
            older.replace(log_file.with_name(f"{log_file.name}.{number + 1}"))
    shutil.copyfile(log_file, log_file.with_name(f"{log_file.name}.1"))
    os.truncate(log_file, 0)
