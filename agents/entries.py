"""A task as its owner holds it, from its record to its acknowledged terminal fact."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.limits.tickets import Ticket
from domain.strategies.strategy import Waiting
from domain.task import TaskState
from domain.waits import Mark
from schemas.events import TaskSubmitted
from streams.shard_stream import ShardRecord

#: Topic and shard.
Band = tuple[str, int]


class Stop(StrEnum):
    """Why a running attempt was told to stop."""

    CANCEL = "cancel"
    SHUTDOWN = "shutdown"
    #: Others need its slot: it hands it back at its next checkpoint, and goes on from there later.
    YIELD = "yield"
    #: A permit that it runs under can no longer be relied on.
    LAPSED = "lapsed"


@dataclass(slots=True, eq=False)
class Entry:
    """A task that this worker owns, from its record to its terminal fact."""

    submission: TaskSubmitted
    state: TaskState
    #: The record to acknowledge when the task has ended; replaced when the log hands it out again.
    record: ShardRecord
    #: Runs the handler; None while no attempt is active.
    execution: asyncio.Task[Any] | None = None
    stop: Stop | None = None
    #: Set when the attempt is asked to yield; made anew for each attempt.
    yield_asked: asyncio.Event | None = None
    #: Whether the present attempt can yield.
    preemptible: bool = False
    #: What the present attempt runs under.
    ticket: Ticket | None = None
    #: Commits that the log has not acknowledged yet.
    unwritten: int = 0
    #: Another worker owns it now: nothing more may be written about it.
    lost: bool = False
    #: It goes on outside this window, held or with another owner: its record is let go when the log has that.
    leaving: bool = False
    #: The band that it is counted against because it waits, and with how many bytes.
    counted: tuple[Band, int] | None = None
    #: What its strategy last saw of it.
    view: Waiting | None = None
    #: Loop time at which it began to wait here.
    waiting_since: float = 0.0
    #: When it came here, or last came back into line here; aware UTC.
    entered_at: datetime | None = None
    #: The moment from which its present wait counts: its submission, or the end of the attempt before; aware UTC.
    waiting_from: datetime | None = None
    #: Milliseconds that it had waited, by cause, when it began to wait for its turn.
    waited_before: Mapping[str, float] = field(default_factory=dict)
    #: Since then; None while it does not wait for its turn.
    mark: Mark | None = None
    #: When it last began to wait by an end of its own (a yield, a retry), in milliseconds since 1970; 0: never.
    queued_ms: int = 0
    #: Broker time in ms, shard and offset of the record that brought it: its place in line, wherever it is moved to.
    place: tuple[int, int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.place = (self.record.timestamp_ms, self.record.shard, self.record.offset)

    @property
    def task_id(self) -> str:
        """Whose entry it is."""
        return self.state.task_id

    @property
    def band(self) -> Band:
        """Topic and shard that its record lies in."""
        return (self.record.topic, self.record.shard)

    @property
    def suspect(self) -> bool:
        """An attempt of it died with its worker, so it may be what kills workers."""
        return self.state.attempts_lost > 0

    @property
    def priority(self) -> int:
        """As submitted, or as changed since."""
        return self.submission.priority if self.state.priority is None else self.state.priority

    @property
    def has_started(self) -> bool:
        """Whether there was an attempt of this run."""
        return self.state.attempt > self.submission.attempts_before
