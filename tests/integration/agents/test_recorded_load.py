"""A worker's decisions out of a real log: replayed exactly, and tried under another strategy."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from domain.simulation.replaying import by_worker, replay, slots_seen
from domain.states import TaskStatus
from streams.recorded_load import Period, read_visits
from tests.support.command import penstock
from tests.support.scenes import Scene, working
from tests.support.strategies import strategy_of

pytestmark = pytest.mark.external_service


async def loaded(scene: Scene) -> None:
    """Tasks of all priorities have waited for two slots, and have ended."""
    async with working(scene, slots=2):
        for priority in (1, 2, 3):
            await scene.submit(25, name=f"p{priority}", priority=priority, seconds=0.01)
        await scene.until_all(TaskStatus.COMPLETED)


async def simulated(scene: Scene, tmp_path: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """What the command prints of the scene's class."""
    result = await asyncio.to_thread(
        penstock,
        *("simulate", "--from-log", "--class", scene.resource_class, "--json", *arguments),
        cwd=tmp_path,
        KAFKA_BOOTSTRAP_SERVERS=scene.kafka,
        PENSTOCK_CLASSES=json.dumps({scene.resource_class: {}}),
    )
    assert result.stdout, result.stderr
    return result.returncode, json.loads(result.stdout)


async def test_the_recorded_order_is_reproduced_exactly_and_another_one_is_told(scene: Scene, tmp_path: Path) -> None:
    before = datetime.now(UTC)
    await loaded(scene)
    status, said = await simulated(scene, tmp_path, "--strategy", "fifo", "--save", "load.jsonl")
    assert status == 0
    assert said["replayed"] == {"exact": 75, "behind_limits": 0, "different": [], "starts": 75}
    rows = {row.pop("group"): row for row in said["rows"]}
    assert list(rows) == ["all", "tenant default", "priority high", "priority normal", "priority low"]
    assert {name: waits["tasks"] for name, waits in rows["all"].items()} == {
        "recorded": 75,
        "priority, modelled": 75,
        "fifo, modelled": 75,
    }
    high = rows["priority high"]
    assert high["priority, modelled"]["mean_seconds"] < high["fifo, modelled"]["mean_seconds"]
    assert len((tmp_path / "load.jsonl").read_text().splitlines()) == 75

    status, nothing = await simulated(scene, tmp_path, "--until", before.isoformat())
    assert (status, nothing["replayed"]["starts"]) == (0, 0)
    status, everything = await simulated(scene, tmp_path, "--since", before.isoformat())
    assert (status, everything["replayed"]["starts"]) == (0, 75)


async def test_a_strategy_that_was_not_at_work_does_not_explain_the_log(scene: Scene) -> None:
    await loaded(scene)
    visits = await read_visits(scene.kafka, scene.resource_class, Period(), lambda submission: 1.0, lambda name: False)
    (worker,) = by_worker(visits).values()
    assert slots_seen(worker) == 2
    assert replay(worker, strategy_of).exact == 75
    assert replay(worker, strategy_of, strategy="fifo").exact < 75
