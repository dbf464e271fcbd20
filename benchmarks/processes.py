"""What the processes of a running system use.

Processor time a task says more than tasks a second: neighbours on the machine hardly distort it.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

import psutil

from penstock.installation import RunningSystem


def used_seconds(system: RunningSystem) -> dict[str, float]:
    """Processor time of each role since it began, its children's included, and of this process, who measures."""
    used = {name: _seconds(role.pid) for name, role in system.roles.items()}
    own = os.times()
    return used | {"benchmark": own.user + own.system}


def ms_per_task(before: Mapping[str, float], after: Mapping[str, float], tasks: int) -> dict[str, float]:
    """Milliseconds of processor time by role, the largest first, and `total`."""
    spent = {name: 1000 * (seconds - before.get(name, 0.0)) / tasks for name, seconds in after.items()}
    spent["total"] = sum(spent.values())
    ordered = sorted(spent.items(), key=lambda item: -item[1])
    return {name: round(ms, 3) for name, ms in ordered if ms >= 0.001}


def resident_mib(system: RunningSystem, role: str) -> float:
    """Memory of one role, its children aside."""
    return round(psutil.Process(system.roles[role].pid).memory_info().rss / 2**20, 1)


def _seconds(pid: int) -> float:
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    total = 0.0
    for each in family:
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
