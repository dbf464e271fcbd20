"""An engine process never outlives the process that started it, however that one died.

Runs inside the child, so it imports the standard library only and starts in milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

#: prctl(2): the signal that the kernel sends a process when its parent dies.
_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when its parent dies; exits at once if the parent is already gone.

    Elsewhere than on Linux this does nothing: there the end of the parent's pipe has to be watched.

    Source: prctl(2), PR_SET_PDEATHSIG. The signal comes when the parent's *thread* that forked ends, so engine
    processes must be started from a thread that lives as long as the process, such as the event loop's.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        os._exit(1)


def exit_at_end_of_file(descriptor: int) -> None:
    """Block until the pipe's other end is closed, then end this process. For a thread of its own."""
    while os.read(descriptor, 4096):
        pass
    os._exit(1)
