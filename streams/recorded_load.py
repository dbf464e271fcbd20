"""Reading a recorded load out of the log: the submissions of one class, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from aiokafka import AIOKafkaConsumer, ConsumerRecord

from domain.configuration import Configuration, InvalidChange, apply, strategy_choice
from domain.simulation.recording import CostOf, Preemptible, RecordedEvent, Recorder, Visit, microseconds
from domain.strategies.choice import StrategyChoice
from schemas.codec import UndecodableRecord, decode, decode_change
from schemas.configuration import StrategySelected
from schemas.events import TaskEvent, TaskSubmitted
from streams import history, topics

#: What was submitted so long before the period may still have waited in it.
LOOK_BACK = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Period:
    """From a moment on, and up to another one; None: from the beginning, to the end."""

    since: datetime | None = None
    until: datetime | None = None

    def holds(self, visit: Visit) -> bool:
        """Whether the visit belongs to it: by its start, or by its arrival where it never started."""
        moment = visit.arrives_us if visit.started_us is None else visit.started_us
        return (self.since is None or microseconds(self.since) <= moment) and (
            self.until is None or moment < microseconds(self.until)
        )


@dataclass(slots=True)
class Recorded:
    """The configuration as it is at the end of the log."""

    configuration: Configuration
    #: The options with which the class last used each strategy.
    choices: dict[str, StrategyChoice] = field(default_factory=dict)


async def read_visits(
    bootstrap_servers: str, resource_class: str, period: Period, cost_of: CostOf, preemptible: Preemptible
) -> list[Visit]:
    """All visits of the class in a period. What cannot be decoded is nobody's task, and is left out.

    Raises:
        KafkaError: the broker does not answer.
    """
    recorder = Recorder(cost_of, preemptible)
    since_ms = None if period.since is None else microseconds(period.since - LOOK_BACK) // 1000
    async with history.reader(bootstrap_servers, topics.class_topics(resource_class)) as consumer:
        await _read(consumer, since_ms, recorder)
    async with history.reader(bootstrap_servers, [topics.LIFECYCLE]) as consumer:
        await _read(consumer, since_ms, recorder)
    return [visit for visit in recorder.visits() if period.holds(visit)]


async def read_configuration(bootstrap_servers: str, resource_class: str, first: Configuration) -> Recorded:
    """What the registry says, on top of what the settings say.

    Raises:
        KafkaError: the broker does not answer.
    """
    found = Recorded(first)
    choices: Mapping[str, StrategyChoice] = first.strategies
    if (choice := choices.get(resource_class)) is not None:
        found.choices[choice.name] = choice
    async with history.reader(bootstrap_servers, [topics.REGISTRY]) as consumer:
        await consumer.seek_to_beginning()
        async for batch in history.read_to_end(consumer):
            for record in batch:
                _change(found, record, resource_class)
    return found


async def _read(consumer: AIOKafkaConsumer, since_ms: int | None, recorder: Recorder) -> None:
    if since_ms is None:
        await consumer.seek_to_beginning()
    else:
        await history.seek_to_moment(consumer, since_ms)
    async for batch in history.read_to_end(consumer):
        for record in batch:
            event = _event(record)
            if event is not None and (isinstance(event, TaskSubmitted) or recorder.knows(event.task_id)):
                recorder.add(RecordedEvent(event, record.timestamp, record.partition, record.offset))


def _event(record: ConsumerRecord) -> TaskEvent | None:
    try:
        message = decode(record.value or b"")
    except UndecodableRecord:
        return None
    return message if isinstance(message, TaskEvent) else None


def _change(found: Recorded, record: ConsumerRecord, resource_class: str) -> None:
    try:
        change = decode_change(record.value or b"")
        found.configuration = apply(found.configuration, change)
    except (InvalidChange, UndecodableRecord):
        # Left out by every process alike; see `streams.registry`.
        return
    if isinstance(change, StrategySelected) and change.resource_class == resource_class:
        found.choices[change.strategy] = strategy_choice(change.strategy, change.options)
