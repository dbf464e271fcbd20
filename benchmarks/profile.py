"""Where the Python roles spend their time under load, by pyinstrument, summed up by whose code runs.

`python -m benchmarks --profile` takes it in a run of its own, since being watched costs time.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pyinstrument.session import Session

from benchmarks.measures import throughput_log
from penstock.installation import RunningSystem

HOOKS: Final = Path(__file__).parent / "hooks"
ROLES: Final = ("agents-cpu", "projector", "intake")
#: Code of ours that is told apart by its folder.
FOLDERS: Final = ("agents", "domain", "penstock", "projections", "schemas", "streams")
LOOP: Final = "waiting, and the event loop's own C"
SOCKETS: Final = "asyncio: sending to sockets"
WRITTEN_SECONDS_MAX: Final = 30.0

#: Seconds by whose code ran, for each role.
Profile = Mapping[str, Mapping[str, float]]


def environment(folder: Path) -> dict[str, str]:
    """What roles must be started with so that they can be profiled."""
    return {"PYTHONPATH": str(HOOKS), "PENSTOCK_BENCH_PROFILES": str(folder)}


def profile(system: RunningSystem, folder: Path, tasks: int) -> Profile:
    """Profile the roles of a system that was started with `environment(folder)`, while it runs no-op tasks."""
    pids = {name: system.roles[name].pid for name in ROLES}
    with _watched(pids.values()):
        asyncio.run(throughput_log(system.bootstrap_servers, system.api_url, tasks))
    return {name: seconds_by_owner(_session(folder / f"{pid}.pyisession")) for name, pid in pids.items()}


def seconds_by_owner(session: Session) -> dict[str, float]:
    """Seconds by whose code was the innermost Python frame; C that it calls counts as its own."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for stack, spent in session.frame_records:
        # pyinstrument writes a frame as function, file and line, with zero bytes between.
        seconds[owner_of(stack[-1].split("\0")[1])] += spent
    return dict(sorted(seconds.items(), key=lambda item: -item[1]))


def owner_of(path: str) -> str:
    """Whose code a frame is: a folder of ours, an installed package, or Python's library."""
    parts = Path(path).parts
    if "site-packages" in parts:
        package = parts[parts.index("site-packages") + 1]
        return LOOP if package == "uvloop" else package
    if parts[-2:] == ("asyncio", "runners.py"):
        return LOOP
    if parts[-2:] == ("asyncio", "streams.py"):
        return SOCKETS
    if len(parts) > 1 and "asyncio" in parts:
        return "asyncio"
    ours = next((part for part in reversed(parts[:-1]) if part in FOLDERS), None)
    if ours is not None and "lib" not in parts:
        return f"{ours}/"
    return "generated dataclass methods" if path == "<string>" else "Python's library"


def table(found: Profile, shown_percent: float = 2.0) -> str:
    """Markdown: the share of the time at work, by owner and role; the small ones together."""
    roles = list(found)
    busy = {role: sum(spent for owner, spent in found[role].items() if owner != LOOP) for role in roles}
    owners = _largest_first({owner for seconds in found.values() for owner in seconds} - {LOOP}, found)
    percents = {
        owner: [100 * found[role].get(owner, 0.0) / busy[role] if busy[role] else 0.0 for role in roles]
        for owner in owners
    }
    rows = [(owner, shares) for owner, shares in percents.items() if max(shares) >= shown_percent]
    rest = [sum(shares[at] for shares in percents.values()) for at in range(len(roles))]
    rest = [left - sum(shares[at] for _, shares in rows) for at, left in enumerate(rest)]
    lines = ["| % of the time at work in | " + " | ".join(roles) + " |", "|---" * (1 + len(roles)) + "|"]
    lines += [_row(owner, shares) for owner, shares in [*rows, ("everything else", rest)]]
    return "\n".join(lines)


def _largest_first(owners: Iterable[str], found: Profile) -> list[str]:
    return sorted(owners, key=lambda owner: (-sum(seconds.get(owner, 0.0) for seconds in found.values()), owner))


def _row(owner: str, shares: Sequence[float]) -> str:
    return f"| {owner} | " + " | ".join(f"{share:.0f}" for share in shares) + " |"


@contextmanager
def _watched(pids: Collection[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGUSR1)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGUSR2)


def _session(path: Path) -> Session:
    deadline = time.monotonic() + WRITTEN_SECONDS_MAX
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path.name} was not written within {WRITTEN_SECONDS_MAX:.0f} s of SIGUSR2")
        time.sleep(0.05)
    return Session.load(path)
