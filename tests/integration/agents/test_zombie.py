"""A worker that stood still for longer than its session: whatever it does when it wakes, its successor's work stands.

What ran is told by a ledger, not by the log alone: a zombie that starts handlers leaves its lines there.
"""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from domain.states import TaskStatus
from schemas import events
from tests.chaos.judge import live
from tests.chaos.ledger import Frozen, overlaps, read
from tests.support.memory_worker import until
from tests.support.scenes import Scene

pytestmark = [pytest.mark.external_service, pytest.mark.slow]


async def test_a_zombie_starts_nothing_that_its_successor_owns(scene: Scene, tmp_path: Path) -> None:
    """It wakes up with slots that fall free and a window full of tasks that it takes for its own."""
    ledger = tmp_path / "ledger"
    tasks = await scene.submit(160, seconds=0.5, ledger=str(ledger), attempts_max=20)
    async with scene.worker() as zombie:
        await until(lambda: scene.count(TaskStatus.COMPLETED) >= 8, what="for the first ends", seconds=90)
        zombie.send_signal(signal.SIGSTOP)
        async with scene.worker() as successor:
            await until(lambda: len(starts_of(scene, successor.pid)) >= 4, what="for the successor", seconds=90)
            fence = min(fact.epoch for fact in starts_of(scene, successor.pid))
            woke, woke_at = time.monotonic(), datetime.now(UTC)
            zombie.send_signal(signal.SIGCONT)
            await scene.until_all(TaskStatus.COMPLETED, seconds=120)
    late = [fact for fact in starts_of(scene, zombie.pid) if fact.occurred_at > woke_at and fact.epoch < fence]
    assert late == []
    executions = read(ledger)
    assert overlaps(executions, [Frozen(zombie.pid, 0.0, woke)], grace_seconds=10.0) == []
    assert {task: broken for task in tasks if (broken := numbers(scene, task)) != list(range(1, len(broken) + 1))} == {}


def starts_of(scene: Scene, pid: int) -> list[events.TaskStarted]:
    """Starts on record of a worker."""
    return [
        fact
        for facts in scene.facts.values()
        for fact in facts
        if isinstance(fact, events.TaskStarted) and fact.worker.endswith(f"/{pid}")
    ]


def numbers(scene: Scene, task: str) -> list[int]:
    """Attempts of a task that counted, in the order of the log."""
    return [start.attempt for start in live(task, [scene.submissions[task], *scene.facts[task]]).starts]
