"""Lets every Python process that has this folder on its path be profiled between SIGUSR1 and SIGUSR2."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

_profiler: Any = None


def _start(_number: int, _frame: object) -> None:
    # Only the roles that are asked need it, and their start must stay as it is.
    from pyinstrument import Profiler

    global _profiler
    _profiler = Profiler(interval=0.002, async_mode="disabled")
    _profiler.start()


def _stop(_number: int, _frame: object) -> None:
    session = _profiler.stop()
    path = Path(os.environ["PENSTOCK_BENCH_PROFILES"]) / f"{os.getpid()}.pyisession"
    session.save(path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


signal.signal(signal.SIGUSR1, _start)
signal.signal(signal.SIGUSR2, _stop)
