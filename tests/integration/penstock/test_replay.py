"""`penstock replay`: scripts go by its exit status, so that 1 means a difference and nothing else."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from penstock.settings import DEFAULT_CLASSES
from projections.database import connect
from projections.locks import Lock, acquire
from projections.migrate import migrate
from streams.admin import ensure_topics
from streams.topics import all_topics
from tests.support.command import penstock

pytestmark = pytest.mark.external_service

NOBODY_THERE = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}


@pytest.fixture
async def system(kafka: str, database: str) -> Mapping[str, str]:
    """Where a prepared system without tasks is, as the environment says it."""
    await ensure_topics(kafka, all_topics({name: each.shards for name, each in DEFAULT_CLASSES.items()}))
    await migrate(database)
    return {"KAFKA_BOOTSTRAP_SERVERS": kafka, "DATABASE_URL": database}


async def test_agreement_is_0_and_a_difference_is_1(tmp_path: Path, database: str, system: Mapping[str, str]) -> None:
    agreeing = penstock("replay", "--verify", cwd=tmp_path, **system)
    assert agreeing.returncode == 0, agreeing.stderr
    assert "agree with the log" in agreeing.stdout
    async with await connect(database, autocommit=True) as connection:
        await connection.execute("INSERT INTO queue_depth VALUES ('cpu', 1, 'queued', 1)")
    differing = penstock("replay", "--verify", cwd=tmp_path, **system)
    assert differing.returncode == 1, differing.stderr
    assert "do not agree" in differing.stdout


@pytest.mark.parametrize("purpose", ["--verify", "--rebuild"])
async def test_running_maintenance_is_a_sentence_and_5(
    tmp_path: Path, database: str, system: Mapping[str, str], purpose: str
) -> None:
    async with await connect(database, autocommit=True) as connection:
        await acquire(connection, Lock.MAINTENANCE)
        result = penstock("replay", purpose, cwd=tmp_path, **system)
    assert result.returncode == 5, result.stderr
    assert "under way. Wait until it has ended" in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("away", NOBODY_THERE)
async def test_an_outage_is_a_sentence_and_5(tmp_path: Path, system: Mapping[str, str], away: str) -> None:
    result = penstock("replay", "--verify", cwd=tmp_path, **{**system, away: NOBODY_THERE[away]})
    assert result.returncode == 5, result.stderr
    assert "cut short" in result.stderr
    assert "penstock doctor" in result.stderr
    assert "Traceback" not in result.stderr
