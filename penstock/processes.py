"""Small truths about operating system processes that the supervisor and the embedded services share."""

import ctypes
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Container
from pathlib import Path

import psutil

#: Set by whoever starts a role: the process id without which the role must not go on.
PARENT_ENV = "PENSTOCK_PARENT_PID"
PARENT_CHECK_SECONDS = 1.0
#: prctl(2): the signal that a process gets when its parent dies.
PR_SET_PDEATHSIG = 1
#: Below the range from which Linux takes ports for outgoing connections (32768 and up by default).
PORT_RANGE = range(19092, 32000)


def die_with_parent(signal_number: signal.Signals = signal.SIGTERM) -> None:
    """Bind this process to the one named by PARENT_ENV: it gets `signal_number` when that one dies, even by SIGKILL.

    Without PARENT_ENV nothing happens. The binding survives an exec, not a change of user: call it again after that.
    Elsewhere than on Linux a thread looks once a second, and an exec ends it; a later `penstock up` then sweeps.
    """
    wanted = os.environ.get(PARENT_ENV)
    if not wanted:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal_number))
    else:
        threading.Thread(target=_watch_parent, args=(int(wanted), signal_number), daemon=True).start()
    # The parent may have died before the binding was made.
    if os.getppid() != int(wanted):
        os.kill(os.getpid(), signal_number)


def _watch_parent(parent: int, signal_number: signal.Signals) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os.kill(os.getpid(), signal_number)


def identity(pid: int) -> float | None:
    """When the process was created, in seconds since the epoch; None where it does not run (a zombie does not).

    A pid together with this names one process for ever; a pid alone is reused.
    """
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def is_same_process(pid: int, created: float) -> bool:
    """Whether `pid` still is the process that was created then; one second is left for rounding."""
    found = identity(pid)
    return found is not None and abs(found - created) < 1.0


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port that only waits for old connections to die counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(taken: Container[int | None] = ()) -> int:
    """A port that nothing listens on, and not among `taken`; this process's as long as it lives.

    Raises: OSError where every port of PORT_RANGE is in use.
    """
    for port in PORT_RANGE:
        if port not in taken and is_free(port) and claim(port):
            return port
    raise OSError(f"no free port between {PORT_RANGE.start} and {PORT_RANGE.stop - 1}")


def claim(port: int) -> bool:
    """Keep a port from others who look for one while no server of ours listens there; False where somebody was faster.

    A broker takes seconds until it listens, and two installations may start in the same one. A claim is the UDP port
    of the same number: the system takes it back however this process ends.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as kept:
        try:
            kept.bind(("127.0.0.1", port))
        except OSError:
            return False
        # From here nothing closes it but the end of this process.
        kept.detach()
    return True


def let_others_through(folder: Path) -> list[Path]:
    """Add the right to pass (not to list) to each folder above that lacks it; returns those changed.

    An embedded PostgreSQL started by root runs as another user, who must reach its files.
    """
    changed = []
    for parent in folder.resolve().parents:
        mode = parent.stat().st_mode
        if not mode & 0o001:
            parent.chmod(mode | 0o001)
            changed.append(parent)
    return changed


#: Set by the supervisor: the file that a role creates when it is ready for work.
READY_FILE_ENV = "PENSTOCK_READY_FILE"


def announce_ready() -> None:
    """Tell the supervisor, where there is one, that this role is ready for work."""
    name = os.environ.get(READY_FILE_ENV)
    if name:
        Path(name).touch()
