"""The archive of Kafka's classes is used where it fits, and never needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.embedded import kafka


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> kafka.KafkaPlace:
    monkeypatch.setattr(kafka, "ensure_jars", lambda folder: [folder / "kafka.jar"])
    monkeypatch.setattr(kafka, "_format", lambda java, properties: None)
    (tmp_path / "broker").mkdir()
    return kafka.KafkaPlace(folder=tmp_path / "broker", port=1, controller_port=2)


def test_the_broker_starts_from_the_archive_where_there_is_one(place: kafka.KafkaPlace, tmp_path: Path) -> None:
    assert not any("SharedArchiveFile" in part for part in kafka.command(place, jars_dir=tmp_path))
    archive = kafka.archive_path(tmp_path)
    archive.touch()
    assert f"-XX:SharedArchiveFile={archive}" in kafka.command(place, jars_dir=tmp_path)


def test_other_jars_or_options_have_another_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = kafka.archive_path(tmp_path)
    monkeypatch.setattr(kafka, "JVM_OPTIONS", ("-Xmx1g",))
    assert kafka.archive_path(tmp_path) != before
