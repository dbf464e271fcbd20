"""Topics as data: names that Kafka's tools can live with, settings that the log depends on."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.priority import BANDS, Priority, priority_of
from streams import topics
from streams.topics import FOREVER_MS, Topic

SHARDS = {"llm": 4, "cpu": 2}
ALL = topics.all_topics(SHARDS)
BY_NAME = {topic.name: topic for topic in ALL}
TRUTH = topics.recorded_topics(SHARDS)


@pytest.mark.parametrize("topic", ALL, ids=lambda topic: topic.name)
def test_a_name_is_kebab_case_without_dots(topic: Topic) -> None:
    """Kafka's metrics merge `.` and `_`; 249 characters is Kafka's own bound."""
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", topic.name)
    assert len(topic.name) <= 249


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(ALL)


@pytest.mark.parametrize("topic", ALL, ids=lambda topic: topic.name)
def test_no_topic_is_compacted_and_the_broker_dates_every_record(topic: Topic) -> None:
    """A hole in the offsets makes Faust commit past unfinished work, and merging by time needs one clock."""
    settings = topic.configuration()
    assert settings["cleanup.policy"] == "delete"
    assert settings["message.timestamp.type"] == "LogAppendTime"
    assert settings["retention.bytes"] == "-1"
    assert int(settings["max.message.bytes"]) == topics.RECORD_BYTES_MAX


@pytest.mark.parametrize("name", TRUTH)
def test_the_truth_is_kept_for_ever(name: str) -> None:
    assert BY_NAME[name].retention_ms == FOREVER_MS
    assert BY_NAME[name].configuration()["retention.ms"] == "-1"
    assert "projections" in BY_NAME[name].consumers


def test_the_truth_is_the_lifecycle_and_every_class_topic() -> None:
    assert TRUTH[0] == topics.LIFECYCLE
    assert set(TRUTH) - {topics.LIFECYCLE} == set(BY_NAME) - {topic.name for topic in topics.SHARED}


@pytest.mark.parametrize("resource_class", SHARDS)
def test_the_bands_of_a_class_are_co_partitioned(resource_class: str) -> None:
    bands = topics.of_class(resource_class, SHARDS[resource_class])
    assert [topic.name for topic in bands] == [f"tasks-{resource_class}-{band}" for band in ("high", "normal", "low")]
    assert {topic.partitions for topic in bands} == {SHARDS[resource_class]}


@pytest.mark.parametrize("priority", Priority)
def test_a_priority_and_its_topic_name_each_other(priority: Priority) -> None:
    name = topics.band_of("cpu", priority)
    assert topics.class_topics("cpu")[name] is priority
    assert priority_of(priority.band) is priority


def test_bands_come_most_urgent_first() -> None:
    assert BANDS == ("high", "normal", "low")
    assert list(topics.class_topics("cpu")) == ["tasks-cpu-high", "tasks-cpu-normal", "tasks-cpu-low"]


@given(st.integers().filter(lambda number: number not in (1, 2, 3)))
def test_what_is_no_priority_has_no_topic(number: int) -> None:
    """Foreign Avro writers may send any number."""
    with pytest.raises(ValueError, match="is not a valid Priority"):
        topics.band_of("cpu", number)


def test_every_topic_is_written_and_read_by_someone() -> None:
    assert all(topic.producers and topic.consumers and topic.holds and topic.key for topic in ALL)
