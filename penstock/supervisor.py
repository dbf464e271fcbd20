"""Runs a system: starts every role as a process, starts again what dies, and stops all of it in order.

One coroutine keeps each role. A role is started only while all that it needs is ready, so that an outage of Kafka or
PostgreSQL costs its clients neither attempts nor back-off. Whatever kills the supervisor, its roles die with it.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from penstock.child import Child, kill_group, rotate, start_child
from penstock.embedded.kafka import HOST
from penstock.embedded.postgres import PostgresPlace
from penstock.errors import SettingsError
from penstock.installation import Installation, RunningRole, RunningSystem
from penstock.plan import RolePlan, layers, plan_roles
from penstock.processes import READY_FILE_ENV, identity, is_free, is_same_process
from penstock.readiness import Probe, probe_for
from penstock.restarts import remembered, verdict
from penstock.settings import Settings

#: Tells the user one thing about one role.
Say = Callable[[str, str], None]

PROBE_INTERVAL_SECONDS = 0.1
SLOW_START_SECONDS = 30.0
LOG_CHECK_SECONDS = 1.0
LEFTOVER_STOP_SECONDS = 5.0
LAST_LINES = 3


@dataclass(slots=True)
class _Kept:
    """What the supervisor knows of one role."""

    plan: RolePlan
    probe: Probe
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    child: Child | None = None
    exits_at: list[float] = field(default_factory=list)
    restarts: int = 0


class Supervisor:
    """The processes of one running system. Use `running_system`, which also owns the data folder."""

    def __init__(self, settings: Settings, installation: Installation, plans: Sequence[RolePlan], say: Say) -> None:
        self._installation, self._say = installation, say
        self.system = _describe(settings, installation)
        self._environment = _environment(settings, self.system)
        self._roles = {
            plan.name: _Kept(plan, probe_for(plan, self.system, self._ready_file(plan.name))) for plan in plans
        }
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    def start(self) -> None:
        """Begin to keep every role; returns at once."""
        self._tasks = [asyncio.create_task(self._keep(role), name=name) for name, role in self._roles.items()]
        self._tasks.append(asyncio.create_task(self._bound_logs(), name="logs"))

    async def all_ready(self) -> RunningSystem:
        """Wait until every role has been ready, however long and after however many restarts."""
        for role in self._roles.values():
            await role.ready.wait()
        return self.system

    async def stop(self) -> None:
        """Stop all roles, those that serve first and the services last, within ten seconds; idempotent."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for layer in reversed(layers([role.plan for role in self._roles.values()])):
            await asyncio.gather(*(self._stop_role(self._roles[plan.name]) for plan in layer))

    def kill(self) -> None:
        """Kill everything at once: for a user who asks a second time."""
        for role in self._roles.values():
            if role.child:
                role.child.kill_group()

    async def _stop_role(self, role: _Kept) -> None:
        if role.child is None or not role.child.is_running:
            return
        seconds = role.plan.stop_seconds
        by_itself = await role.child.stop(role.plan.stop_signal, seconds)
        await role.child.exited()
        self._say(role.plan.name, "stopped" if by_itself else f"killed: it did not stop within {seconds:g} s")

    async def _keep(self, role: _Kept) -> None:
        while True:
            for need in role.plan.needs:
                await self._roles[need].ready.wait()
            code = await self._run_once(role)
            if role.plan.is_step and code == 0:
                self._say(role.plan.name, "done")
                role.ready.set()
                return
            await self._after_exit(role, code)

    async def _run_once(self, role: _Kept) -> int:
        """Start the role, watch it become ready, and wait for its end; its exit status."""
        self._ready_file(role.plan.name).unlink(missing_ok=True)
        environment = {**self._environment, READY_FILE_ENV: str(self._ready_file(role.plan.name))}
        began = time.monotonic()
        role.child = await start_child(list(role.plan.command), self._log_file(role.plan.name), environment)
        self._publish()
        watch = asyncio.create_task(self._watch_start(role, began))
        try:
            return await role.child.exited()
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            if not self._stopping:
                role.ready.clear()
                role.child.kill_group()

    async def _watch_start(self, role: _Kept, began: float) -> None:
        if role.plan.is_step:
            return
        slow_at = began + SLOW_START_SECONDS
        while not await role.probe():
            if time.monotonic() > slow_at:
                self._say(
                    role.plan.name, f"not ready after {time.monotonic() - began:.0f} s; see {self._log_name(role)}"
                )
                slow_at = float("inf")
            await asyncio.sleep(PROBE_INTERVAL_SECONDS)
        role.ready.set()
        self._publish()
        self._say(role.plan.name, f"ready in {time.monotonic() - began:.1f} s{self._address(role.plan.name)}")

    async def _after_exit(self, role: _Kept, code: int) -> None:
        now = time.monotonic()
        role.exits_at = [*remembered(role.exits_at, now), now]
        role.restarts += 1
        restart = verdict(role.exits_at, now)
        reason = f"killed by signal {-code}" if code < 0 else f"exited with status {code}"
        text = f"{reason}; started again in {restart.after_seconds:.1f} s"
        if restart.is_crash_loop:
            text = f"dies again and again ({reason}); tried again every {restart.after_seconds:.0f} s. Its last words:"
            text += f"\n{_last_lines(self._log_file(role.plan.name))}\nMore in {self._log_name(role)}"
        self._say(role.plan.name, text)
        self._publish()
        await asyncio.sleep(restart.after_seconds)

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.sleep(LOG_CHECK_SECONDS)
            for name in self._roles:
                rotate(self._log_file(name))

    def _publish(self) -> None:
        """Tell other commands, and a supervisor that follows a killed one, which processes are ours."""
        self.system.roles.clear()
        for name, role in self._roles.items():
            if role.child and role.child.is_running:
                self.system.roles[name] = RunningRole(
                    pid=role.child.pid,
                    created_at=role.child.created_at,
                    is_ready=role.ready.is_set(),
                    restarts=role.restarts,
                )
        self._installation.publish(self.system)

    def _address(self, name: str) -> str:
        return {"kafka": f" on {self.system.bootstrap_servers}", "api": f" on {self.system.api_url}"}.get(name, "")

    def _log_file(self, name: str) -> Path:
        return self._installation.logs_dir / f"{name}.log"

    def _log_name(self, role: _Kept) -> str:
        return str(self._log_file(role.plan.name))

    def _ready_file(self, name: str) -> Path:
        return self._installation.run_dir / f"{name}.ready"


@asynccontextmanager
async def running_system(
    settings: Settings, say: Say, plans: Sequence[RolePlan] | None = None
) -> AsyncIterator[Supervisor]:
    """A system that is being started on the settings' data folder, and is stopped when the block ends.

    Without plans it is the whole system that the settings describe.

    Raises: FolderInUse where another one owns the folder; SettingsError where the port is taken.
    """
    installation = Installation(settings.data_dir)
    installation.create()
    with installation.locked():
        await _sweep(installation, say)
        if settings.port and not is_free(settings.port, settings.host):
            raise SettingsError(
                f"Port {settings.port} on {settings.host} is in use by another program.",
                remedy="Stop that program, or choose another port with --port.",
            )
        supervisor = Supervisor(settings, installation, plans or plan_roles(settings), say)
        supervisor.start()
        try:
            yield supervisor
        finally:
            await supervisor.stop()
            installation.retract()


async def _sweep(installation: Installation, say: Say) -> None:
    """End what a supervisor that was killed has left: its roles were told to stop, and get a moment to do so."""
    last = installation.last_published()
    if last is None:
        return
    left = {name: role for name, role in last.roles.items() if is_same_process(role.pid, role.created_at)}
    deadline = time.monotonic() + LEFTOVER_STOP_SECONDS
    while left and time.monotonic() < deadline:
        await asyncio.sleep(PROBE_INTERVAL_SECONDS)
        left = {name: role for name, role in left.items() if is_same_process(role.pid, role.created_at)}
    for name, role in left.items():
        say(name, f"process {role.pid} was left by an earlier run and is killed")
        kill_group(role.pid)
    installation.retract()


def _describe(settings: Settings, installation: Installation) -> RunningSystem:
    bootstrap_servers = settings.kafka_bootstrap_servers or f"{HOST}:{installation.ports(settings.port).kafka}"
    embedded_url = PostgresPlace(folder=installation.postgres_dir).uri()
    database_url = settings.database_url.get_secret_value() if settings.database_url else embedded_url
    reachable = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - compared, not bound
    return RunningSystem(
        supervisor_pid=os.getpid(),
        supervisor_created_at=identity(os.getpid()) or 0.0,
        bootstrap_servers=bootstrap_servers,
        database_url=database_url,
        api_url=f"http://{reachable}:{settings.port}",
    )


def _environment(settings: Settings, system: RunningSystem) -> Mapping[str, str]:
    """What the roles load their settings from: ours, with the flags and the addresses that were found."""
    return os.environ | {
        "PENSTOCK_DATA_DIR": str(settings.data_dir),
        "PENSTOCK_HOST": settings.host,
        "PENSTOCK_PORT": str(settings.port),
        "PENSTOCK_START_CLASSES": ",".join(settings.start_classes),
        "PENSTOCK_KAFKA_BOOTSTRAP_SERVERS": system.bootstrap_servers,
        "PENSTOCK_DATABASE_URL": system.database_url,
        "PYTHONUNBUFFERED": "1",
    }


def _last_lines(log_file: Path) -> str:
    try:
        lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(f"    {line[:300]}" for line in lines[-LAST_LINES:])
