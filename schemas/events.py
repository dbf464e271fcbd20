"""What can happen to a task: the facts that the log keeps for ever.

A fact is a frozen dataclass in the past tense. Times are aware UTC datetimes, durations seconds, attempts count from 1.
`payload`, `result` and `metadata` are JSON texts: the log carries them, only handlers look inside.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha1
from typing import ClassVar

#: Namespace of every identifier that Penstock derives; fixed for ever, since ids in old logs depend on it.
NAMESPACE = uuid.UUID("6f1d8a3e-1f0b-5c1e-9a57-70656e73746f")
_NAMESPACE_BYTES = NAMESPACE.bytes
_VARIANTS = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}


def derived_uuid(name: str) -> str:
    """`uuid.uuid5` in our namespace, as text; every fact needs one, and the standard library takes its time.

    Source: RFC 9562, section 5.5.
    """
    text = sha1(_NAMESPACE_BYTES + name.encode(), usedforsecurity=False).hexdigest()
    # The version is the thirteenth digit, and the variant the upper half of the seventeenth.
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANTS[text[16]]}{text[17:20]}-{text[20:32]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What all facts share. `(run, epoch, sequence)` orders the facts of one task; see `domain.task.evolve`."""

    TYPE: ClassVar[str]
    VERSION: ClassVar[int] = 1

    #: Whose fact this is.
    task_id: str
    #: When its writer decided it, by the writer's clock.
    occurred_at: datetime
    #: 1 for the first submission, one more for each retry by hand.
    run: int = 1
    #: Fencing number of the shard owner that wrote it; 0 where no owner is involved (door, intake, held work).
    epoch: int = 0
    #: Position among the facts of the same task, run and epoch.
    sequence: int = 0
    #: The attempt it is about; 0 before the first one starts.
    attempt: int = 0

    @property
    def version(self) -> tuple[int, int, int]:
        """Order of this fact among all facts of its task."""
        return (self.run, self.epoch, self.sequence)

    @property
    def event_id(self) -> str:
        """The same fact always has the same id, so that a repeat is recognised wherever it turns up."""
        name = f"{self.task_id}/{self.run}/{self.attempt}/{self.epoch}/{self.TYPE}/{self.sequence}"
        return derived_uuid(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSubmitted(Fact):
    """A task was accepted. On a class topic it is the task itself; a retry by hand appends it again with `run` + 1."""

    TYPE: ClassVar[str] = "task.submitted"
    VERSION: ClassVar[int] = 2

    #: Task type, such as `convert`; decides the handler and the resource class.
    type: str
    resource_class: str
    #: Work with the same routing key meets in the same shard.
    routing_key: str
    tenant: str = "default"
    #: 1 low, 2 normal, 3 high.
    priority: int = 2
    payload: str = "{}"
    model: str | None = None
    timeout_seconds: float = 300.0
    #: How often one run may be tried: retries + 1.
    attempts_max: int = 4
    #: Attempts that earlier runs have used, so that attempt numbers never repeat.
    attempts_before: int = 0
    #: Not before this moment.
    run_at: datetime | None = None
    metadata: str = "{}"
    callback_url: str | None = None
    #: The door it came through: `http`, `intake`, `schedule`.
    source: str = "http"
    #: W3C trace context of the submitter.
    traceparent: str | None = None
    #: A task that has not started by then expires.
    deadline_at: datetime | None = None
    #: How long the sender thinks that one attempt takes.
    estimated_seconds: float | None = None
    #: Ids of the tasks that must have ended first.
    depends_on: tuple[str, ...] = ()
    #: What becomes of it when one of those does not complete: `fail`, `continue`, or `fail_fast` in a workflow.
    on_dependency_failure: str = "fail"
    #: The workflow that it is a step of.
    workflow_id: str | None = None
    #: The schedule that made it.
    schedule_id: str | None = None
    #: How a target is picked for the model `auto`: `cost`, `speed` or `quality`.
    route_by: str | None = None
    #: Models to go on with, in order, where the one before cannot be had.
    fallbacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQueued(Fact):
    """A shard owner holds the task in its window and it waits for its turn."""

    TYPE: ClassVar[str] = "task.queued"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskHeld(Fact):
    """The task waits outside every window until something happens."""

    TYPE: ClassVar[str] = "task.held"

    #: What it waits for, such as `run_at` or `paused: class llm`; see docs/held-work.md.
    reason: str
    #: The moment it may go on, where that is known.
    until: datetime | None = None
    #: The whole TaskSubmitted in single-object Avro: the held-work service appends it when the wait is over.
    submission: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStarted(Fact):
    """An attempt has begun. The broker has acknowledged this fact before the handler runs."""

    TYPE: ClassVar[str] = "task.started"
    VERSION: ClassVar[int] = 2

    #: Host and process that run it.
    worker: str
    handler_version: int = 1
    #: Milliseconds waited, by cause (see `domain.waits`), since it was accepted or since its last attempt ended.
    waited_ms: Mapping[str, int] = field(default_factory=dict)
    #: When it came into the window of its owner.
    entered_at: datetime | None = None
    #: The strategy that chose it.
    strategy: str | None = None
    #: The model that it runs on, where it needs one.
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskYielded(Fact):
    """A handler handed its slot back at a checkpoint; the task goes on from `checkpoint` later, at no cost."""

    TYPE: ClassVar[str] = "task.yielded"

    checkpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReleased(Fact):
    """An attempt was handed back (shutdown, lost shard, refused by a provider); it costs the task no attempt."""

    TYPE: ClassVar[str] = "task.released"
    VERSION: ClassVar[int] = 2

    reason: str
    #: By what the attempt failed, where it did: what another model, or the same one later, may heal.
    error_code: str | None = None
    #: Not before this moment.
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAttemptLost(Fact):
    """An attempt of a dead owner was found without an end. It counts, so that a task that kills its worker ends."""

    TYPE: ClassVar[str] = "task.attempt_lost"

    lost_epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRetryScheduled(Fact):
    """An attempt failed and another one will start at `due_at`."""

    TYPE: ClassVar[str] = "task.retry_scheduled"

    due_at: datetime
    error_code: str
    error_detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPriorityChanged(Fact):
    """A waiting task got another priority; it goes on waiting for what it waited for."""

    TYPE: ClassVar[str] = "task.priority_changed"

    #: 1 low, 2 normal, 3 high.
    priority: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRouted(Fact):
    """A waiting task goes to another model, and so perhaps to another shard, which owns that model."""

    TYPE: ClassVar[str] = "task.routed"

    model: str
    #: Where its record goes from now on; see TaskSubmitted.
    routing_key: str
    #: Why this one, with the figures that decided.
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCancelRequested(Fact):
    """A running task was told to stop; it is cancelled only when its engine has stopped."""

    TYPE: ClassVar[str] = "task.cancel_requested"

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCompleted(Fact):
    """Terminal: the handler's result."""

    TYPE: ClassVar[str] = "task.completed"
    VERSION: ClassVar[int] = 2

    result: str
    duration_seconds: float
    #: What it used, by name and unit, such as `prompt_tokens` and `completion_tokens`.
    usage: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFailed(Fact):
    """Terminal: the last attempt failed, or none could succeed."""

    TYPE: ClassVar[str] = "task.failed"

    error_code: str
    error_detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCancelled(Fact):
    """Terminal: stopped on request, before or while it ran."""

    TYPE: ClassVar[str] = "task.cancelled"

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRejected(Fact):
    """Terminal: the submission could not be accepted; says why, in words for its sender."""

    TYPE: ClassVar[str] = "task.rejected"

    error_code: str
    error_detail: str
    #: What could be read of the submission, for whoever looks for it.
    type: str | None = None
    tenant: str | None = None
    #: Where the record lies, as `topic/partition/offset`.
    origin: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskExpired(Fact):
    """Terminal: its deadline passed before it could start."""

    TYPE: ClassVar[str] = "task.expired"

    reason: str


#: Everything that task-lifecycle holds.
LifecycleEvent = (
    TaskQueued
    | TaskHeld
    | TaskStarted
    | TaskYielded
    | TaskReleased
    | TaskAttemptLost
    | TaskRetryScheduled
    | TaskPriorityChanged
    | TaskRouted
    | TaskCancelRequested
    | TaskCompleted
    | TaskFailed
    | TaskCancelled
    | TaskRejected
    | TaskExpired
)
#: Everything that can happen to a task.
TaskEvent = TaskSubmitted | LifecycleEvent

TASK_EVENTS: tuple[type[TaskEvent], ...] = (
    TaskSubmitted,
    TaskQueued,
    TaskHeld,
    TaskStarted,
    TaskYielded,
    TaskReleased,
    TaskAttemptLost,
    TaskRetryScheduled,
    TaskPriorityChanged,
    TaskRouted,
    TaskCancelRequested,
    TaskCompleted,
    TaskFailed,
    TaskCancelled,
    TaskRejected,
    TaskExpired,
)
