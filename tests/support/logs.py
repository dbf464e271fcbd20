"""Logs for tests of projections: plausible lives of tasks, with all that may go wrong, and ways to read them."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from aiokafka import ConsumerRecord, TopicPartition

from domain import decide
from domain.errors import IllegalTransition
from domain.states import ACTIVE, RETRYABLE
from domain.task import TaskState, evolve
from projections.fold import Recorded
from projections.position import Position
from schemas.codec import encode
from schemas.events import TaskCompleted, TaskEvent, TaskStarted, TaskSubmitted
from streams.topics import LIFECYCLE, band_of

BEGIN = datetime(2026, 11, 20, 23, 59, 30, tzinfo=UTC)


def submission(task_id: str = "t-1", **changes: object) -> TaskSubmitted:
    """A small valid submission."""
    plain = TaskSubmitted(
        task_id=task_id, occurred_at=BEGIN, type="convert", resource_class="cpu", routing_key=task_id, payload='{"a":1}'
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # names are checked by replace itself


@dataclass
class Log:
    """Partitions of records, each in order; every record gets the next millisecond of the broker's clock."""

    partitions: defaultdict[tuple[str, int], list[Recorded]] = field(default_factory=lambda: defaultdict(list))
    milliseconds: int = int(BEGIN.timestamp() * 1000)

    def append(self, fact: TaskEvent, *, topic: str | None = None) -> Recorded:
        """The fact as it comes to lie on the topic that its kind belongs to, one partition a task."""
        if topic is None:
            topic = band_of(fact.resource_class, fact.priority) if isinstance(fact, TaskSubmitted) else LIFECYCLE
        key = (topic, sum(fact.task_id.encode()) % 2)
        self.milliseconds += 1
        record = Recorded(fact, encode(fact), Position(self.milliseconds, *key, len(self.partitions[key])))
        self.partitions[key].append(record)
        return record

    def in_order(self) -> list[Recorded]:
        """All records as the broker took them."""
        return sorted((each for part in self.partitions.values() for each in part), key=lambda each: each.position)

    def shuffled(self, chance: random.Random) -> list[Recorded]:
        """All records as some reader might meet them: each partition in order, partitions anyhow."""
        left = [list(part) for part in self.partitions.values()]
        found: list[Recorded] = []
        while left := [part for part in left if part]:
            part = chance.choice(left)
            # Readers get runs of records of one partition.
            count = chance.randint(1, 6)
            found += part[:count]
            del part[:count]
        return found


def split(records: Sequence[Recorded], chance: random.Random) -> Iterable[Sequence[Recorded]]:
    """The records in batches of random sizes."""
    begin = 0
    while begin < len(records):
        end = begin + chance.randint(1, 12)
        yield records[begin:end]
        begin = end


def polled(records: Iterable[Recorded]) -> dict[TopicPartition, list[ConsumerRecord]]:
    """The records as a consumer hands them over."""
    batch: defaultdict[TopicPartition, list[ConsumerRecord]] = defaultdict(list)
    for _, value, (appended_ms, topic, partition, offset) in records:
        record = ConsumerRecord(topic, partition, offset, appended_ms, 1, None, value, None, -1, len(value), ())
        batch[TopicPartition(topic, partition)].append(record)
    return dict(batch)


class Life:
    """One task's life as its owners write it, told by a source of chance."""

    def __init__(self, log: Log, task_id: str, chance: random.Random, resource_class: str = "cpu") -> None:
        self._log, self._chance = log, chance
        self._at = BEGIN + timedelta(seconds=chance.randint(0, 60))
        self._epoch = 1
        self._written: list[TaskEvent] = []
        self.state = TaskState(task_id=task_id)
        first = submission(
            task_id,
            resource_class=resource_class,
            occurred_at=self._at,
            tenant=chance.choice(["a", "b"]),
            priority=chance.choice([1, 2, 3]),
            attempts_max=chance.choice([1, 2, 4]),
        )
        if chance.random() < 0.2:
            self._hold_first(first)
        else:
            self._write(first)

    def go_on(self, steps: int) -> None:
        """Let so many things happen."""
        for _ in range(steps):
            self._at += timedelta(milliseconds=self._chance.randint(1, 20_000))
            self._chance.choice([self._act, self._act, self._act, self._disturb])()

    def _write(self, *facts: TaskEvent) -> None:
        for fact in facts:
            self._log.append(fact)
            self._written.append(fact)
            self.state = evolve(self.state, fact)

    def _hold_first(self, first: TaskSubmitted) -> None:
        command = decide.Hold(at=self._at, reason="run_at", until=self._at, submission=encode(first))
        self._write(*decide.decide(command, TaskState(task_id=first.task_id)))
        self._write(first)

    def _act(self) -> None:
        state, chance = self.state, self._chance
        at, epoch = self._at, self._epoch
        if state.terminal:
            if state.status in RETRYABLE and chance.random() < 0.6:
                self._write(decide.retry(state, self._at))
            return
        commands: list[decide.OwnerCommand] = [
            decide.Queue(at=at, epoch=epoch),
            decide.Start(at=at, epoch=epoch, worker="w\0" + str(self._epoch)),
            decide.Start(at=at, epoch=epoch, worker="w", waited_ms={"priority": 3}, strategy="fifo"),
            decide.Complete(
                at=at, epoch=epoch, result='"\\u0000"', duration_seconds=1.0, usage={"tokens": float("inf")}
            ),
            decide.Fail(at=at, epoch=epoch, code="e", detail="d\0", retryable=chance.random() < 0.7, jitter=0.5),
            decide.Yield(at=at, epoch=epoch, checkpoint="{}"),
            decide.Release(at=at, epoch=epoch, reason="shutdown"),
            decide.Lose(at=at, epoch=epoch),
            decide.Cancel(at=at, epoch=epoch, reason="asked"),
            decide.ConfirmCancel(at=at, epoch=epoch, reason="asked"),
            decide.ChangePriority(at=at, epoch=epoch, priority=chance.choice([1, 2, 3]), reason="asked"),
            decide.Route(at=at, epoch=epoch, model=chance.choice(["m", "n\0"]), routing_key="k", reason="cheaper"),
        ]
        try:
            self._write(*decide.decide(chance.choice(commands), state))
        except IllegalTransition:
            return

    def _disturb(self) -> None:
        """Another owner, a repeat, a zombie, a foreign writer, or another submission of the same id."""
        state, chance = self.state, self._chance
        kind = chance.randrange(6)
        if kind == 0:
            self._epoch += 1
        elif kind == 1:
            self._log.append(chance.choice(self._written))
        elif kind == 2 and state.run:
            self._log.append(
                TaskStarted(task_id=state.task_id, occurred_at=self._at, run=state.run, epoch=0, attempt=1, worker="z")
            )
        elif kind == 3 and state.run:
            impossible = TaskCompleted(
                task_id=state.task_id,
                occurred_at=self._at,
                run=state.run,
                epoch=state.epoch,
                sequence=state.sequence + 1,
                result="1",
                duration_seconds=0.0,
            )
            if state.status not in ACTIVE:
                self._log.append(impossible)
        elif kind == 4 and state.submission is not None:
            self._log.append(replace(state.submission, type="other", priority=1, payload="{}"))


def lives(seed: int, *, tasks: int = 3, steps: int = 25, resource_class: str = "cpu", prefix: str = "task") -> Log:
    """A log of several tasks' lives; the same seed is the same log."""
    chance = random.Random(seed)
    log = Log()
    alive = [Life(log, f"{prefix}-{number}", chance, resource_class) for number in range(tasks)]
    for _ in range(steps):
        chance.choice(alive).go_on(1)
    return log
