"""One task: its state, and how facts change it.

A task's facts come from several writers through two topics, so a reader can meet them late, twice, or from an owner
that has already been replaced. `evolve` gives one answer all the same:

- `(run, epoch, sequence)` orders the facts of a task; what is not newer than the state is ignored. A zombie's late
  result has an old epoch, so it is on record and without effect.
- A terminal state absorbs whatever else its run may bring; only TaskSubmitted with a higher run leaves it.
- A fact of a higher epoch is a takeover: its owner has folded the log and its word stands, whatever came before.
  Within one epoch the table of `domain.states` must hold, or the history is corrupt.
- TaskSubmitted may be read after the facts that follow from it: it then only fills in what the task is. One that was
  released with results of others in its payload has a higher sequence, and describes the task better.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.changed import changer
from domain.errors import CorruptHistory
from domain.provider_errors import RATE_LIMITED
from domain.states import STATE_AFTER, TERMINAL, TRANSITIONS, TaskStatus
from schemas import codec, events
from schemas.events import LifecycleEvent, TaskEvent, TaskSubmitted


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState:
    """What the facts so far add up to. `status` is None until the first one."""

    task_id: str
    status: TaskStatus | None = None
    run: int = 0
    epoch: int = 0
    sequence: int = 0
    #: Number of the last attempt that started.
    attempt: int = 0
    #: Attempts handed back by owner or handler, which do not count.
    attempts_returned: int = 0
    #: Those of them that a provider refused: not one of these ever began.
    attempts_refused: int = 0
    #: When this run was first refused.
    refused_since_at: datetime | None = None
    #: Attempts that died with their owner.
    attempts_lost: int = 0
    submission: TaskSubmitted | None = None
    #: As submitted, or as changed since.
    priority: int | None = None
    #: The model and routing key that it was submitted for, or was routed to since.
    model: str | None = None
    routing_key: str | None = None
    #: Models that it was routed to, in order: a chain of fallbacks never comes back to one.
    routed_to: tuple[str, ...] = ()
    #: When a scheduled retry, a task that a provider refused, or held work, may go on.
    due_at: datetime | None = None
    #: When the latest attempt of this run ended and left it to wait again; its present wait counts from then.
    wait_began_at: datetime | None = None
    #: When the task was first held since then.
    first_held_at: datetime | None = None
    #: What a handler left at its last checkpoint.
    checkpoint: str | None = None
    result: str | None = None
    error_code: str | None = None
    error_detail: str | None = None
    submitted_at: datetime | None = None
    queued_at: datetime | None = None
    #: Start of the latest attempt.
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def version(self) -> tuple[int, int, int]:
        """Order of the last fact that counted."""
        return (self.run, self.epoch, self.sequence)

    @property
    def terminal(self) -> bool:
        """Nothing but a retry by hand can follow."""
        return self.status in TERMINAL

    @property
    def attempts_used(self) -> int:
        """Attempts of this run that count against its budget."""
        before = self.submission.attempts_before if self.submission else 0
        return self.attempt - before - self.attempts_returned

    @property
    def begun(self) -> bool:
        """Whether an attempt of this run got anywhere: one that a provider refused did not."""
        before = self.submission.attempts_before if self.submission else 0
        return self.attempt - self.attempts_refused > before

    @property
    def attempts_left(self) -> bool:
        """Whether this run may be tried again."""
        return self.submission is not None and self.attempts_used < self.submission.attempts_max


#: See `domain.changed`.
changed_state = changer(TaskState)
#: What is known of a task before its first fact.
_UNKNOWN = TaskState(task_id="")


def fold(task_id: str, facts: Iterable[TaskEvent]) -> TaskState:
    """The state that a task's facts add up to.

    Raises:
        CorruptHistory: see `evolve`.
    """
    state = TaskState(task_id=task_id)
    for fact in facts:
        state = evolve(state, fact)
    return state


def evolve(state: TaskState, fact: TaskEvent) -> TaskState:
    """The state after one more fact; the very same object where the fact changes nothing.

    Raises:
        CorruptHistory: the fact is newer than the state but may not follow it, or is a hold of nothing readable.
    """
    if isinstance(fact, TaskSubmitted):
        return _submitted(state, fact)
    if fact.version <= state.version:
        return state
    if fact.run > state.run:
        state = _new_run(state, fact.run)
    elif state.terminal:
        return state
    _check_order(state, fact)
    return _apply(state, fact)


def _submitted(state: TaskState, fact: TaskSubmitted) -> TaskState:
    known = state.submission
    if fact.run < state.run or (fact.run == state.run and known is not None and fact.sequence <= known.sequence):
        return state
    if fact.run > state.run:
        state = _new_run(state, fact.run, TaskStatus.SUBMITTED)
    return filled_in(state, fact)


def filled_in(state: TaskState, submission: TaskSubmitted) -> TaskState:
    """What the task is; what facts read before its submission have changed since stays changed."""
    return changed_state(
        state,
        submission=submission,
        submitted_at=submission.occurred_at,
        attempt=max(state.attempt, submission.attempts_before),
        priority=submission.priority if state.priority is None else state.priority,
        model=state.model if state.routed_to else submission.model,
        routing_key=state.routing_key if state.routed_to else submission.routing_key,
    )


def _new_run(state: TaskState, run: int, status: TaskStatus | None = None) -> TaskState:
    return changed_state(_UNKNOWN, task_id=state.task_id, run=run, attempt=state.attempt, status=status)


def _check_order(state: TaskState, fact: LifecycleEvent) -> None:
    takeover = fact.epoch > state.epoch
    if state.status is not None and not takeover and fact.TYPE not in TRANSITIONS[state.status]:
        raise CorruptHistory(state.task_id, state.status, fact.TYPE, fact.version)


def _apply(state: TaskState, fact: LifecycleEvent) -> TaskState:
    described = _described(state, fact) if isinstance(fact, events.TaskHeld) else state
    status = described.status or TaskStatus.SUBMITTED
    return changed_state(
        described,
        status=STATE_AFTER.get(fact.TYPE, status),
        epoch=fact.epoch,
        sequence=fact.sequence,
        attempt=max(described.attempt, fact.attempt),
        **{"due_at": None, **_told(state, fact)},
    )


def _told(state: TaskState, fact: LifecycleEvent) -> dict[str, Any]:
    """What a fact says beside its state and its place in the order."""
    at = fact.occurred_at
    match fact:
        case events.TaskQueued():
            return {"queued_at": at}
        case events.TaskHeld(until=until):
            return {"due_at": until, "first_held_at": state.first_held_at or at}
        case events.TaskStarted():
            return {"started_at": at}
        case events.TaskYielded(checkpoint=checkpoint):
            return {
                "queued_at": at,
                "attempts_returned": _returned(state, fact),
                "checkpoint": checkpoint,
                **_waits_from(at),
            }
        case events.TaskReleased():
            return {
                "queued_at": at,
                "attempts_returned": _returned(state, fact),
                **_refused(state, fact),
                **_waits_from(at),
            }
        case events.TaskAttemptLost():
            return {"queued_at": at, "attempts_lost": state.attempts_lost + 1, **_waits_from(at)}
        case events.TaskRetryScheduled(due_at=due_at, error_code=code, error_detail=detail):
            return {"due_at": due_at, "error_code": code, "error_detail": detail, **_waits_from(at)}
        case events.TaskPriorityChanged(priority=priority):
            return {"due_at": state.due_at, "priority": priority}
        case events.TaskRouted(model=model, routing_key=key):
            return {"queued_at": at, "model": model, "routing_key": key, "routed_to": (*state.routed_to, model)}
        case events.TaskCancelRequested():
            return {}
        case events.TaskCompleted(result=result):
            return {"finished_at": at, "result": result, "error_code": None, "error_detail": None}
        case events.TaskFailed(error_code=code, error_detail=detail):
            return {"finished_at": at, "error_code": code, "error_detail": detail}
        case events.TaskRejected(error_code=code, error_detail=detail):
            return {"finished_at": at, "error_code": code, "error_detail": detail}
        case events.TaskCancelled(reason=reason):
            return {"finished_at": at, "error_code": "cancelled", "error_detail": reason}
        case events.TaskExpired(reason=reason):
            return {"finished_at": at, "error_code": "expired", "error_detail": reason}


def _waits_from(at: datetime) -> dict[str, Any]:
    return {"wait_began_at": at, "first_held_at": None}


def _returned(state: TaskState, fact: LifecycleEvent) -> int:
    """Two owners may hand back one attempt; that must not make up for attempts that failed."""
    before = state.submission.attempts_before if state.submission else 0
    used = max(state.attempt, fact.attempt) - before - state.attempts_returned
    return state.attempts_returned + min(1, used)


def _refused(state: TaskState, fact: events.TaskReleased) -> dict[str, Any]:
    """What a release says of a failure that costs no attempt."""
    if fact.error_code is None:
        return {}
    told = {"due_at": fact.due_at, "error_code": fact.error_code, "error_detail": fact.reason}
    if fact.error_code != RATE_LIMITED:
        return told
    refused = state.attempts_refused + _returned(state, fact) - state.attempts_returned
    return told | {"attempts_refused": refused, "refused_since_at": state.refused_since_at or fact.occurred_at}


def _described(state: TaskState, fact: events.TaskHeld) -> TaskState:
    """Held work is not on a class topic yet, so its hold says what the task is."""
    if state.submission is not None:
        return state
    return filled_in(state, _held(state, fact))


def _held(state: TaskState, fact: events.TaskHeld) -> TaskSubmitted:
    try:
        submission = codec.decode(fact.submission)
    except codec.UndecodableRecord as error:
        raise CorruptHistory(state.task_id, str(state.status), fact.TYPE, fact.version, str(error)) from error
    if not isinstance(submission, TaskSubmitted) or submission.task_id != fact.task_id:
        hint = f"it holds {submission.TYPE} of task {submission.task_id}"
        raise CorruptHistory(state.task_id, str(state.status), fact.TYPE, fact.version, hint)
    return submission
