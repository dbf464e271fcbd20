"""The supervisor, on real processes that are really killed."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.errors import FolderInUse
from penstock.installation import Installation
from penstock.plan import RolePlan
from penstock.processes import identity
from penstock.settings import Settings
from penstock.supervisor import Supervisor, running_system

DEADLINE_SECONDS = 30.0

#: Ready at once; ends on SIGTERM; starts a child of its own that would outlive it.
OBEDIENT = """
import os, pathlib, signal, subprocess, sys
from penstock.processes import announce_ready, die_with_parent
die_with_parent()
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(os.environ["PENSTOCK_DATA_DIR"], "grandchild").write_text(str(grandchild.pid))
announce_ready()
signal.pause()
"""
#: Ready, and deaf to SIGTERM.
STUBBORN = """
import signal
from penstock.processes import announce_ready
signal.signal(signal.SIGTERM, signal.SIG_IGN)
announce_ready()
while True: signal.pause()
"""


def python(name: str, code: str, **options: object) -> RolePlan:
    """A role that runs this code."""
    return RolePlan(name=name, command=(sys.executable, "-c", code), **options)  # type: ignore[arg-type]


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; fail at the deadline."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", port=0)


@pytest.fixture
def said() -> list[str]:
    return []


async def ready(supervisor: Supervisor) -> None:
    """Wait until all roles are ready."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        await supervisor.all_ready()


async def test_a_killed_role_comes_back_as_another_process(settings: Settings, said: list[str]) -> None:
    async with running_system(settings, lambda *words: said.append(" ".join(words)), [python("a", OBEDIENT)]) as run:
        await ready(run)
        first = run.system.roles["a"].pid
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: "a" in run.system.roles and run.system.roles["a"].pid != first)
        await eventually(lambda: run.system.roles["a"].is_ready)
        assert run.system.roles["a"].restarts == 1
    assert any("killed by signal 9" in line for line in said)


async def test_what_a_killed_role_had_started_dies_too(settings: Settings) -> None:
    async with running_system(settings, _silent, [python("a", OBEDIENT)]) as run:
        await ready(run)
        grandchild = int((settings.data_dir / "grandchild").read_text())
        os.kill(run.system.roles["a"].pid, signal.SIGKILL)
        await eventually(lambda: identity(grandchild) is None)


async def test_a_role_waits_for_what_it_needs_and_is_not_started_while_that_is_away(settings: Settings) -> None:
    needed = python("needed", "import time; time.sleep(600)")
    plans = [needed, python("needy", OBEDIENT, needs=("needed",))]
    async with running_system(settings, _silent, plans) as run:
        await eventually(lambda: "needed" in run.system.roles)
        assert "needy" not in run.system.roles
        (settings.data_dir / "run" / "needed.ready").touch()
        await ready(run)
        assert "needy" in run.system.roles


async def test_a_step_runs_once_and_lets_the_others_start(settings: Settings) -> None:
    counter = "import os, pathlib; pathlib.Path(os.environ['PENSTOCK_DATA_DIR'], 'runs').open('a').write('x')"
    plans = [python("step", counter, is_step=True), python("after", OBEDIENT, needs=("step",))]
    async with running_system(settings, _silent, plans) as run:
        await ready(run)
    assert (settings.data_dir / "runs").read_text() == "x"


async def test_a_role_that_always_dies_is_reported_with_its_last_words(settings: Settings, said: list[str]) -> None:
    plans = [python("broken", "raise SystemExit('no disk here')")]
    async with running_system(settings, lambda *words: said.append(" ".join(words)), plans):
        await eventually(lambda: any("again and again" in line and "no disk here" in line for line in said))


async def test_stopping_kills_the_deaf_and_leaves_nothing(settings: Settings) -> None:
    plans = [python("deaf", STUBBORN, stop_seconds=0.3), python("a", OBEDIENT)]
    async with running_system(settings, _silent, plans) as run:
        await ready(run)
        pids = [role.pid for role in run.system.roles.values()]
    assert [identity(pid) for pid in pids] == [None, None]
    assert Installation(settings.data_dir).last_published() is None


async def test_a_second_system_on_the_folder_is_refused(settings: Settings) -> None:
    async with running_system(settings, _silent, [python("a", OBEDIENT)]):
        with pytest.raises(FolderInUse):
            async with running_system(settings, _silent, [python("b", OBEDIENT)]):
                pass


SUPERVISOR = f"""
import asyncio, pathlib, sys
from penstock.plan import RolePlan
from penstock.settings import Settings
from penstock.supervisor import running_system
async def main():
    plans = [RolePlan(name=name, command=(sys.executable, "-c", code))
             for name, code in (("a", {OBEDIENT!r}), ("deaf", {STUBBORN!r}))]
    settings = Settings(data_dir=pathlib.Path(sys.argv[1]), port=0)
    async with running_system(settings, print, plans) as run:
        await run.all_ready()
        await asyncio.sleep(600)
asyncio.run(main())
"""


async def test_roles_die_with_a_killed_supervisor_and_the_next_one_sweeps_the_rest(settings: Settings) -> None:
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", SUPERVISOR, str(settings.data_dir))
    installation = Installation(settings.data_dir)
    await eventually(lambda: _all_ready(installation, 2))
    last = installation.running()
    os.kill(killed.pid, signal.SIGKILL)
    await killed.wait()
    if sys.platform == "linux":
        await eventually(lambda: identity(last.roles["a"].pid) is None)
    assert identity(last.roles["deaf"].pid) is not None
    async with running_system(settings, _silent, [python("a", OBEDIENT)]) as run:
        await ready(run)
        assert identity(last.roles["deaf"].pid) is None


def _all_ready(installation: Installation, count: int) -> bool:
    system = installation.last_published()
    return system is not None and [role.is_ready for role in system.roles.values()] == [True] * count


def _silent(_role: str, _text: str) -> None:
    pass
