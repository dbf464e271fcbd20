"""The processes of a chaos run: finds those of the system, adds workers, and does to them what is planned."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from penstock.errors import NotRunning
from penstock.installation import Installation
from penstock.processes import PARENT_ENV, identity, is_same_process
from tests.chaos.ledger import Frozen
from tests.chaos.plan import CLASS, WORKER, Blow, Deed

SUPERVISED_WORKER = f"agents-{CLASS}"
RESTART_SECONDS = 0.5
#: How often it is looked who is alive: how exactly a death is known.
LOOK_SECONDS = 0.1
STOP_SECONDS = 15.0

Victim = tuple[int, float]


class Crew:
    """Workers beside the system's own one, and the hand that strikes."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._installation = Installation(folder)
        system = self._installation.running()
        self._environment = os.environ | {
            **environment,
            "PENSTOCK_DATA_DIR": str(folder),
            "PENSTOCK_KAFKA_BOOTSTRAP_SERVERS": system.bootstrap_servers,
            "PENSTOCK_DATABASE_URL": system.database_url,
            PARENT_ENV: str(os.getpid()),
        }
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._started = 0
        self._seen: dict[int, float] = {}
        self._stopped: dict[int, Victim] = {}
        #: When processes of workers were last seen alive, by process id; only of those that are dead.
        self.died_at: dict[int, float] = {}
        self.freezes: list[Frozen] = []
        #: What was done, in the order in which it was done.
        self.done: list[str] = []

    async def man(self) -> None:
        """Keep one more worker for ever: start it, and start another when it has ended."""
        while True:
            process = self._start()
            while process.poll() is None:
                await asyncio.sleep(LOOK_SECONDS)
            self._processes.pop(process.pid, None)
            await asyncio.sleep(RESTART_SECONDS)

    async def look(self) -> None:
        """Note for ever who is alive, so that it is known when each one died."""
        while True:
            self.look_once()
            await asyncio.sleep(LOOK_SECONDS)

    def look_once(self) -> None:
        """See `look`."""
        now = time.monotonic()
        alive = {pid for worker in self._workers() for pid in _family(worker)}
        for pid in self._seen.keys() - alive:
            self.died_at[pid] = self._seen.pop(pid)
        self._seen.update(dict.fromkeys(alive, now))

    async def strike(self, blow: Blow) -> None:
        """Do it, and undo it where it lasts for a while."""
        if blow.deed is Deed.JOIN:
            self.done.append(str(blow))
            await self._visit(blow.seconds)
            return
        victim = self._victim(blow)
        if victim is None:
            self.done.append(f"{blow}: not there")
            return
        pid, _ = victim
        self.done.append(f"{blow} ({pid})")
        match blow.deed:
            case Deed.KILL:
                _send(pid, signal.SIGKILL)
            case Deed.STOP:
                _send(pid, signal.SIGINT if blow.role == "postgres" else signal.SIGTERM)
            case Deed.FREEZE:
                await self._freeze(victim, blow)

    def thaw(self) -> None:
        """Let everything run that stands still."""
        for pid, created in self._stopped.values():
            if is_same_process(pid, created):
                _send(pid, signal.SIGCONT)
        self._stopped.clear()

    async def dismiss(self) -> None:
        """Stop the workers that were added, those that visit included."""
        processes = list(self._processes.values())
        for process in processes:
            _send(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        self._started += 1
        with (self._installation.logs_dir / f"worker-{self._started}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "penstock", "agents", CLASS],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes[process.pid] = process
        return process

    async def _visit(self, seconds: float) -> None:
        process = self._start()
        try:
            await asyncio.sleep(seconds)
        finally:
            _send(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_SECONDS)

    def _victim(self, blow: Blow) -> Victim | None:
        if blow.role == WORKER:
            workers = sorted(self._workers())
            pid = workers[blow.which % len(workers)] if workers else None
        else:
            pid = self._pid_of(blow.role)
        created = identity(pid) if pid is not None else None
        return None if pid is None or created is None else (pid, created)

    def _pid_of(self, role: str) -> int | None:
        with contextlib.suppress(NotRunning):
            playing = self._installation.running().roles.get(role)
            return playing.pid if playing is not None and is_same_process(playing.pid, playing.created_at) else None
        return None

    def _workers(self) -> list[int]:
        supervised = self._pid_of(SUPERVISED_WORKER)
        own = [pid for pid, process in self._processes.items() if process.poll() is None]
        return own if supervised is None else [supervised, *own]

    async def _freeze(self, victim: Victim, blow: Blow) -> None:
        pid, _ = victim
        # A database stands still with all its back-ends, which are sessions of their own.
        pids = _family(pid) if blow.role == "postgres" else [pid]
        victims = [(each, identity(each) or 0.0) for each in pids]
        since = time.monotonic()
        for each, born in victims:
            self._stopped[each] = (each, born)
            _send(each, signal.SIGSTOP)
        try:
            await asyncio.sleep(blow.seconds)
        finally:
            for each, born in victims:
                self._stopped.pop(each, None)
                if is_same_process(each, born):
                    _send(each, signal.SIGCONT)
            self.freezes.append(Frozen(pid, since, time.monotonic()))


def _family(pid: int) -> list[int]:
    """A process and all that descend from it; empty where it is dead."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return []
        return [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
