"""Every topic as data: its name, key, partitions, retention, and who writes and reads it.

Names are kebab-case without dots, since Kafka's metrics merge `.` and `_`. Class topics and task-lifecycle are the
truth and are kept for ever; neither may be compacted or written in transactions, since a hole in the offsets makes
Faust commit past unfinished work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from domain.priority import BANDS, Priority, priority_of

FOREVER_MS: Final = -1
DAY_MS: Final = 24 * 3600 * 1000
#: The largest record: a submission at the door's limit, or a result below the artifact threshold, with room to spare.
RECORD_BYTES_MAX: Final = 4 * 1024 * 1024

LIFECYCLE: Final = "task-lifecycle"
COMMANDS: Final = "task-commands"
PROGRESS: Final = "task-progress"
INTAKE: Final = "tasks-intake"
REGISTRY: Final = "registry"
DEAD_LETTERS: Final = "tasks-dlq"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic's settings, and its place in the picture."""

    name: str
    key: str
    partitions: int
    retention_ms: int
    holds: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]

    def configuration(self) -> Mapping[str, str]:
        """The broker's settings for it. Source: Apache Kafka, "Topic Configs"."""
        return {
            "cleanup.policy": "delete",
            "retention.ms": str(self.retention_ms),
            "retention.bytes": "-1",
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(RECORD_BYTES_MAX),
        }


def class_topic(resource_class: str, band: str) -> str:
    """`tasks-llm-high`: the submissions of one resource class and band."""
    return f"tasks-{resource_class}-{band}"


def band_of(resource_class: str, priority: int) -> str:
    """The class topic that carries a priority."""
    return class_topic(resource_class, Priority(priority).band)


def class_topics(resource_class: str) -> dict[str, Priority]:
    """The three topics of a class, most urgent first."""
    return {class_topic(resource_class, band): priority_of(band) for band in BANDS}


SHARED: Final = (
    Topic(
        LIFECYCLE,
        "task id",
        8,
        FOREVER_MS,
        "every fact after submission",
        ("agents", "intake"),
        ("agents", "projections"),
    ),
    Topic(
        COMMANDS,
        "task id",
        4,
        7 * DAY_MS,
        "what is asked of a task's owner: cancel, change priority",
        ("api", "intake"),
        ("agents", "intake"),
    ),
    Topic(
        PROGRESS,
        "task id",
        4,
        DAY_MS,
        "token deltas and percentages, light JSON",
        ("agents",),
        ("any Kafka consumer",),
    ),
    Topic(
        INTAKE,
        "any",
        4,
        FOREVER_MS,
        "submissions and workflows of outsiders, JSON or Avro; work that must wait; ticks of schedules",
        ("any Kafka producer", "api", "intake"),
        ("intake",),
    ),
    Topic(
        REGISTRY,
        "what changed",
        1,
        FOREVER_MS,
        "every change of the configuration, in one order: strategies, limits, pauses, weights, models, schedules",
        ("api",),
        ("agents", "api", "intake"),
    ),
    Topic(
        DEAD_LETTERS,
        "original key",
        1,
        FOREVER_MS,
        "what could not be read, with topic, partition, offset and reason in the headers",
        ("intake", "agents"),
        ("operators",),
    ),
)


def of_class(resource_class: str, shards: int) -> tuple[Topic, ...]:
    """The three co-partitioned topics of a class; shard i is partition i of each."""
    return tuple(
        Topic(
            class_topic(resource_class, band),
            "routing key",
            shards,
            FOREVER_MS,
            f"submissions of class {resource_class}, {band} priority",
            ("api", "intake", "agents"),
            (f"agents-{resource_class}", "projections"),
        )
        for band in BANDS
    )


def all_topics(shards: Mapping[str, int]) -> tuple[Topic, ...]:
    """Every topic of an installation, given the number of shards of each class."""
    return (*SHARED, *(topic for name, count in shards.items() for topic in of_class(name, count)))


def recorded_topics(classes: Iterable[str]) -> tuple[str, ...]:
    """The topics that hold the truth, which projections fold: the lifecycle first, then every class topic."""
    return (LIFECYCLE, *(topic for name in classes for topic in class_topics(name)))
