"""The command line: what it says, and how it exits, when things are not as they should be."""

import subprocess
from pathlib import Path

import pytest

from projections.migrate import migrate
from tests.support.command import penstock


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["tasks", "--data", "nothing-here"], 4, "No Penstock runs on"),
        (["topics", "--bootstrap", "--data", "nothing-here"], 4, "penstock up"),
        (["submit", "convert", "--payload", "{", "--data", "nothing-here"], 2, "no JSON"),
        (["submit", "convert", "--payload", "@absent.json", "--data", "nothing-here"], 2, "absent.json"),
        (["submit", "convert", "--payload", "{}", "--priority", "4"], 2, "low, normal or high, or 1, 2 or 3"),
        (["up", "--classes", "nowhere"], 2, "There is no class nowhere"),
        (["agents", "nowhere"], 2, "nowhere"),
        (["projector"], 2, "KAFKA_BOOTSTRAP_SERVERS"),
        (["replay"], 2, "--verify"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_an_error_is_a_sentence_and_a_status(tmp_path: Path, arguments: list[str], status: int, said: str) -> None:
    result = penstock(*arguments, cwd=tmp_path)
    assert result.returncode == status, result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_help_names_every_command_that_scripts_rely_on(tmp_path: Path) -> None:
    result = penstock("--help", cwd=tmp_path, COLUMNS="200")
    words = set(result.stdout.split())
    assert {
        "up",
        "submit",
        "tasks",
        "show",
        "watch",
        "cancel",
        "retry",
        "history",
        "topics",
        "replay",
        "doctor",
    } <= words
    assert {"why", "priority", "strategy", "pause", "drain", "resume", "limits", "weight", "models"} <= words
    assert {"kafka", "postgres", "prepare", "api", "agents", "projector", "intake"} <= words


def test_topics_are_listed_without_a_running_system(tmp_path: Path) -> None:
    result = penstock("topics", cwd=tmp_path, COLUMNS="200")
    assert result.returncode == 0
    assert "task-lifecycle" in result.stdout


def test_the_doctor_passes_here_and_fails_on_a_database_that_is_away(tmp_path: Path) -> None:
    assert penstock("doctor", "--data", "d", cwd=tmp_path, PENSTOCK_PORT="0").returncode == 0
    away = "postgresql://nobody@127.0.0.1:1/none"
    result = penstock("doctor", "--data", "d", cwd=tmp_path, PENSTOCK_PORT="0", DATABASE_URL=away)
    assert result.returncode == 1
    assert "cannot connect" in result.stdout


@pytest.mark.external_service
async def test_the_doctor_sees_whether_the_tables_are_prepared(tmp_path: Path, database: str) -> None:
    def doctor() -> subprocess.CompletedProcess[str]:
        return penstock("doctor", "--data", "d", cwd=tmp_path, PENSTOCK_PORT="0", DATABASE_URL=database)

    unprepared = doctor()
    assert unprepared.returncode == 1
    assert "there are no tables yet. Run `penstock prepare`." in unprepared.stdout
    await migrate(database)
    assert doctor().returncode == 0
