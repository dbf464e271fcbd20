"""`penstock simulate` on files, and what it says of what it cannot do."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from penstock.cli import app
from penstock.commands.simulate import read_moment
from penstock.errors import SettingsError

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def load(tmp_path: Path) -> Path:
    """A long task of low priority before short ones of high priority, for one slot."""
    lines: list[dict[str, object]] = [{"arrives_at": 0, "service_seconds": 1, "priority": 2}]
    lines += [{"arrives_at": 0.1, "service_seconds": 10, "priority": 1, "tenant": "slow"}]
    lines += [{"arrives_at": 0.2, "service_seconds": 1, "priority": 3} for _ in range(3)]
    path = tmp_path / "load.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_a_file_is_compared_with_first_come_first_served(load: Path) -> None:
    result = CliRunner().invoke(app, ["simulate", str(load), "--strategy", "priority", "--slots", "1", "--json"])
    assert result.exit_code == 0, result.output
    rows = {row.pop("group"): row for row in json.loads(result.output)["rows"]}
    assert set(rows["all"]) == {"fifo", "priority"}
    assert rows["priority high"]["fifo"]["mean_seconds"] == pytest.approx(11.8)
    assert rows["priority high"]["priority"]["mean_seconds"] == pytest.approx(1.8)
    assert rows["tenant slow"]["priority"]["mean_seconds"] == pytest.approx(3.9)


def test_people_get_a_table(load: Path) -> None:
    result = CliRunner().invoke(app, ["simulate", str(load), "--strategy", "priority", "--slots", "1"])
    assert "5 tasks on 1 slots." in result.output
    assert "priority high" in result.output
    assert "11.800" in result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "one load"),
        (["LOAD", "--from-log"], "one load"),
        (["LOAD", "--strategy", "lifo"], "no strategy 'lifo'"),
        (["LOAD", "--strategy", "fair", "--option", "quantum"], "quantum"),
        (["LOAD", "--strategy", "fair", "--option", "quantum=much"], "quantum is 'much'"),
        (["--from-log", "--class", "nowhere"], "no class 'nowhere'"),
        (["--from-log", "--since", "yesterday"], "'yesterday' is no moment"),
    ],
)
def test_a_wrong_question_is_answered_with_a_sentence(load: Path, arguments: list[str], says: str) -> None:
    given = [str(load) if each == "LOAD" else each for each in arguments]
    result = CliRunner().invoke(app, ["simulate", *given], env={"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"})
    assert isinstance(result.exception, SettingsError)
    assert says in str(result.exception)


def test_moments_are_iso_8601_or_so_long_ago() -> None:
    assert read_moment("90m", NOW) == datetime(2026, 11, 21, 10, 30, tzinfo=UTC)
    assert read_moment("1d", NOW) == datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert read_moment("2026-11-21T09:30:00", NOW) == datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
    assert read_moment("2026-11-21T09:30:00+02:00", NOW) == datetime(2026, 11, 21, 7, 30, tzinfo=UTC)
