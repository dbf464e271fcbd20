"""What an owner may do to a task: commands in, facts out.

Time, epoch and jitter come in with the command, so the same command on the same state gives the same facts.
No facts means "already so": the answer that makes a repeated command safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar, assert_never

from domain.errors import IllegalTransition
from domain.provider_errors import RATE_LIMITED
from domain.retry import RetryPolicy
from domain.states import ACTIVE, RETRYABLE, WAITING, TaskStatus
from domain.task import TaskState
from schemas import events
from schemas.events import LifecycleEvent, TaskSubmitted
from schemas.frozen import field_names

F = TypeVar("F", bound=LifecycleEvent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What all commands of an owner carry: its clock and its fencing number."""

    at: datetime
    epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue(Command):
    """The task waits in the owner's window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(Command):
    """The task must wait outside the window."""

    reason: str
    until: datetime | None
    submission: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(Command):
    """Begin the next attempt."""

    worker: str
    handler_version: int = 1
    waited_ms: Mapping[str, int] = field(default_factory=dict)
    entered_at: datetime | None = None
    strategy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete(Command):
    """The handler returned."""

    result: str
    duration_seconds: float
    usage: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail(Command):
    """The handler raised, ran out of time, or its engine died."""

    code: str
    detail: str
    retryable: bool
    retry_after_seconds: float | None = None
    #: In [0, 1]; see RetryPolicy.
    jitter: float = 1.0
    policy: RetryPolicy = field(default_factory=RetryPolicy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Yield(Command):
    """The handler stopped at a checkpoint."""

    checkpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Command):
    """Hand the running attempt back, at no cost."""

    reason: str
    #: By what it failed, where it goes on with another model.
    error_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lose(Command):
    """Its owner died while it ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel(Command):
    """Stop the task, wherever it is."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmCancel(Command):
    """The engine of a cancelling task has stopped."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expire(Command):
    """Its deadline passed while it waited."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePriority(Command):
    """Another priority for a task that waits; one that runs keeps its own."""

    priority: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Command):
    """The task waits for another model from now on."""

    model: str
    routing_key: str
    reason: str


OwnerCommand = (
    Queue
    | Hold
    | Start
    | Complete
    | Fail
    | Yield
    | Release
    | Lose
    | Cancel
    | ConfirmCancel
    | Expire
    | ChangePriority
    | Route
)


def decide(command: OwnerCommand, state: TaskState) -> list[LifecycleEvent]:
    """The facts that a command leads to, in order.

    Raises:
        IllegalTransition: the state forbids it.
    """
    if state.terminal:
        return []
    match command:
        case Queue():
            return [] if state.status is TaskStatus.QUEUED else _waiting(state, command, events.TaskQueued)
        case Hold(reason=reason, until=until, submission=submission):
            if state.status is TaskStatus.HELD:
                return []
            return _waiting(state, command, events.TaskHeld, reason=reason, until=until, submission=submission)
        case Start():
            return _start(state, command)
        case Complete(result=result, duration_seconds=seconds, usage=usage):
            return _active(state, command, events.TaskCompleted, result=result, duration_seconds=seconds, usage=usage)
        case Fail():
            return _fail(state, command)
        case Yield(checkpoint=checkpoint):
            return _hand_back(state, command, events.TaskYielded, checkpoint=checkpoint)
        case Release(reason=reason, error_code=code):
            return _hand_back(state, command, events.TaskReleased, reason=reason, error_code=code)
        case Lose():
            return _lose(state, command)
        case Cancel(reason=reason):
            return _cancel(state, command, reason)
        case ConfirmCancel(reason=reason):
            return _confirm_cancel(state, command, reason)
        case Expire(reason=reason):
            return _waiting(state, command, events.TaskExpired, reason=reason)
        case ChangePriority(priority=priority, reason=reason):
            if state.status in ACTIVE or priority == state.priority:
                return []
            return _waiting(state, command, events.TaskPriorityChanged, priority=priority, reason=reason)
        case Route(model=model, routing_key=key, reason=reason):
            return _waiting(state, command, events.TaskRouted, model=model, routing_key=key, reason=reason)
        case _:
            assert_never(command)


def retry(state: TaskState, at: datetime) -> TaskSubmitted:
    """The submission of another run, by hand. Asking twice gives the same fact.

    Raises:
        IllegalTransition: the task has not failed, expired or been cancelled.
    """
    if state.status not in RETRYABLE or state.submission is None:
        raise IllegalTransition(
            state.task_id, "retry", str(state.status), f"only {', '.join(sorted(RETRYABLE))} tasks can be retried"
        )
    old = state.submission
    values = {name: getattr(old, name) for name in field_names(TaskSubmitted)}
    values |= {"occurred_at": at, "run": state.run + 1, "attempts_before": state.attempt}
    # What it waited for has been, and a deadline that has passed would only pass again.
    values |= {"run_at": None, "deadline_at": None, "priority": state.priority or old.priority}
    return TaskSubmitted(**values)


def _fact(kind: type[F], state: TaskState, command: Command, *, skip: int = 0, **details: Any) -> F:
    same_epoch = command.epoch == state.epoch
    return kind(
        task_id=state.task_id,
        occurred_at=command.at,
        run=max(state.run, 1),
        epoch=command.epoch,
        sequence=(state.sequence if same_epoch else 0) + 1 + skip,
        **({"attempt": state.attempt} | details),
    )


def _waiting(state: TaskState, command: Command, kind: type[F], **details: Any) -> list[LifecycleEvent]:
    if state.status is not None and state.status not in WAITING:
        raise IllegalTransition(state.task_id, kind.TYPE, state.status)
    return [_fact(kind, state, command, **details)]


def _active(state: TaskState, command: Command, kind: type[F], **details: Any) -> list[LifecycleEvent]:
    if state.status not in ACTIVE:
        raise IllegalTransition(state.task_id, kind.TYPE, str(state.status))
    return [_fact(kind, state, command, **details)]


def _start(state: TaskState, command: Start) -> list[LifecycleEvent]:
    if state.submission is not None and not state.attempts_left:
        raise IllegalTransition(state.task_id, "start", str(state.status), "it has used up its attempts")
    return _waiting(
        state,
        command,
        events.TaskStarted,
        attempt=state.attempt + 1,
        worker=command.worker,
        handler_version=command.handler_version,
        waited_ms=command.waited_ms,
        entered_at=command.entered_at,
        strategy=command.strategy,
        model=state.model,
    )


def _fail(state: TaskState, command: Fail) -> list[LifecycleEvent]:
    if state.status is TaskStatus.CANCELLING:
        return _active(state, command, events.TaskCancelled, reason=f"stopped on request ({command.code})")
    error: dict[str, Any] = {"error_code": command.code, "error_detail": command.detail}
    if state.status in WAITING:
        return [_fact(events.TaskFailed, state, command, **error)]
    if (due_at := _put_off_until(state, command)) is not None:
        refused = {"reason": command.detail, "error_code": command.code, "due_at": due_at}
        return _active(state, command, events.TaskReleased, **refused)
    if not (command.retryable and state.attempts_left):
        return _active(state, command, events.TaskFailed, **error)
    wait = command.policy.backoff_seconds(state.attempts_used, command.jitter, command.retry_after_seconds or 0.0)
    due_at = command.at + timedelta(seconds=wait)
    return _active(state, command, events.TaskRetryScheduled, due_at=due_at, **error)


def _put_off_until(state: TaskState, command: Fail) -> datetime | None:
    """Until when a provider's "not now" puts the task off, at no cost; None where it counts as any other failure."""
    if command.code != RATE_LIMITED or not command.retryable:
        return None
    policy = command.policy
    wait = policy.put_off_seconds(state.attempts_refused + 1, command.retry_after_seconds or 0.0)
    due_at = command.at + timedelta(seconds=wait)
    bound_at = (state.refused_since_at or command.at) + timedelta(seconds=policy.put_off_seconds_max)
    return due_at if due_at <= bound_at else None


def _hand_back(state: TaskState, command: Command, kind: type[F], **details: Any) -> list[LifecycleEvent]:
    if state.status is TaskStatus.CANCELLING:
        return _active(state, command, events.TaskCancelled, reason="stopped on request")
    return _active(state, command, kind, **details)


def _lose(state: TaskState, command: Command) -> list[LifecycleEvent]:
    if state.status is TaskStatus.CANCELLING:
        return _active(state, command, events.TaskCancelled, reason="stopped on request; its worker died")
    facts = _active(state, command, events.TaskAttemptLost, lost_epoch=state.epoch)
    if not state.attempts_left:
        detail = f"its worker died during attempt {state.attempt}, the last one allowed"
        facts.append(_fact(events.TaskFailed, state, command, skip=1, error_code="attempt_lost", error_detail=detail))
    return facts


def _confirm_cancel(state: TaskState, command: Command, reason: str) -> list[LifecycleEvent]:
    if state.status is not TaskStatus.CANCELLING:
        raise IllegalTransition(state.task_id, "confirm a cancel", str(state.status), "nobody asked it to stop")
    return [_fact(events.TaskCancelled, state, command, reason=reason)]


def _cancel(state: TaskState, command: Command, reason: str) -> list[LifecycleEvent]:
    match state.status:
        case TaskStatus.CANCELLING:
            return []
        case TaskStatus.RUNNING:
            return [_fact(events.TaskCancelRequested, state, command, reason=reason)]
        case _:
            return _waiting(state, command, events.TaskCancelled, reason=reason)
