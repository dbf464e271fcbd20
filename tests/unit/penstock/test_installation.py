"""The data folder: its lock, its ports, and what it says of a running system."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.errors import FolderInUse, NotRunning
from penstock.installation import Installation, RunningRole, RunningSystem
from penstock.processes import claim, free_port, identity


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    made = Installation(tmp_path / "data")
    made.create()
    return made


def system(pid: int, created_at: float) -> RunningSystem:
    """What a supervisor with this identity would publish."""
    role = RunningRole(pid=1, created_at=1.0, is_ready=True, restarts=0)
    return RunningSystem(
        supervisor_pid=pid,
        supervisor_created_at=created_at,
        bootstrap_servers="127.0.0.1:1",
        database_url="postgresql://secret@/x",
        api_url="http://127.0.0.1:2",
        roles={"kafka": role},
    )


def test_a_folder_has_one_owner_at_a_time(installation: Installation) -> None:
    with (
        installation.locked(),
        pytest.raises(FolderInUse, match=str(os.getpid())),
        Installation(installation.folder).locked(),
    ):
        pass
    with installation.locked():
        pass


def test_ports_are_kept_while_they_are_free(installation: Installation) -> None:
    first = installation.ports()
    assert installation.ports() == first
    with socket.create_server(("127.0.0.1", first.kafka)):
        assert first.kafka not in (installation.ports().kafka, installation.ports().kafka_controller)


def test_what_is_published_is_found_and_private(installation: Installation) -> None:
    mine = system(os.getpid(), identity(os.getpid()) or 0.0)
    installation.publish(mine)
    assert installation.running() == mine
    assert (installation.run_dir / "system.json").stat().st_mode & 0o077 == 0
    installation.retract()
    with pytest.raises(NotRunning):
        installation.running()


def test_a_reused_process_id_is_not_taken_for_the_supervisor(installation: Installation) -> None:
    installation.publish(system(os.getpid(), 1.0))
    with pytest.raises(NotRunning):
        installation.running()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"roles": {}}'])
def test_a_damaged_file_reads_as_not_running(installation: Installation, text: str) -> None:
    (installation.run_dir / "system.json").write_text(text, encoding="utf-8")
    assert installation.last_published() is None


def test_two_that_look_for_a_port_at_once_find_two() -> None:
    """Though neither's server listens yet: a claim stands between processes, and ends with them."""
    code = "from penstock.processes import free_port; print(free_port(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        theirs = int(other.stdout.readline())
        assert not claim(theirs)
        assert theirs not in (free_port(), free_port())
        other.communicate("\n")
    assert claim(theirs)
