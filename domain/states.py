"""The states of a task and the one table of moves between them.

`docs/lifecycle.md` draws its diagram from TRANSITIONS; nothing else says what may follow what.
Two rules keep the table small: every fact leads to one state, whatever the state before, or leaves every state as it
is; and a terminal state is left only by a retry by hand, which begins a new run.
"""

from __future__ import annotations

from enum import StrEnum

from schemas import events


class TaskStatus(StrEnum):
    """What a task is waiting for."""

    #: Accepted by the log; moved on by the shard owner that reads it.
    SUBMITTED = "submitted"
    #: In an owner's window; moved on by its dispatcher.
    QUEUED = "queued"
    #: Outside every window until a time or a condition; moved on by the held-work service.
    HELD = "held"
    #: An attempt failed; moved on by the owner when the next one is due.
    RETRY_SCHEDULED = "retry_scheduled"
    #: A handler works on it; moved on by the owner when it ends.
    RUNNING = "running"
    #: Told to stop; moved on when its engine has stopped.
    CANCELLING = "cancelling"
    #: Ended with a result.
    COMPLETED = "completed"
    #: Ended with an error, after its last attempt.
    FAILED = "failed"
    #: Ended on request.
    CANCELLED = "cancelled"
    #: Never accepted; its record says why.
    REJECTED = "rejected"
    #: Its deadline passed before it started.
    EXPIRED = "expired"


S = TaskStatus

TERMINAL = frozenset({S.COMPLETED, S.FAILED, S.CANCELLED, S.REJECTED, S.EXPIRED})
#: Terminal states that a retry by hand leaves.
RETRYABLE = frozenset({S.FAILED, S.CANCELLED, S.EXPIRED})
#: States of a task that still has to start; `pending` to the outside.
WAITING = frozenset({S.SUBMITTED, S.QUEUED, S.HELD, S.RETRY_SCHEDULED})
#: States in which an attempt occupies a slot.
ACTIVE = frozenset({S.RUNNING, S.CANCELLING})

_ENDS_WHILE_WAITING = {
    events.TaskCancelled.TYPE: S.CANCELLED,
    events.TaskFailed.TYPE: S.FAILED,
    events.TaskExpired.TYPE: S.EXPIRED,
}
_STARTS = {
    events.TaskStarted.TYPE: S.RUNNING,
    events.TaskHeld.TYPE: S.HELD,
    events.TaskRouted.TYPE: S.QUEUED,
}
#: Facts about a task that goes on waiting for what it waited for.
STATE_KEPT = frozenset({events.TaskPriorityChanged.TYPE})
_RUN_AGAIN = {events.TaskSubmitted.TYPE: S.SUBMITTED}

TRANSITIONS: dict[TaskStatus, dict[str, TaskStatus]] = {
    S.SUBMITTED: {
        events.TaskQueued.TYPE: S.QUEUED,
        events.TaskRejected.TYPE: S.REJECTED,
        **_STARTS,
        **_ENDS_WHILE_WAITING,
    },
    S.QUEUED: {**_STARTS, **_ENDS_WHILE_WAITING},
    S.HELD: {events.TaskQueued.TYPE: S.QUEUED, **_STARTS, **_ENDS_WHILE_WAITING},
    S.RETRY_SCHEDULED: {events.TaskQueued.TYPE: S.QUEUED, **_STARTS, **_ENDS_WHILE_WAITING},
    S.RUNNING: {
        events.TaskYielded.TYPE: S.QUEUED,
        events.TaskReleased.TYPE: S.QUEUED,
        events.TaskAttemptLost.TYPE: S.QUEUED,
        events.TaskRetryScheduled.TYPE: S.RETRY_SCHEDULED,
        events.TaskCancelRequested.TYPE: S.CANCELLING,
        events.TaskCompleted.TYPE: S.COMPLETED,
        events.TaskFailed.TYPE: S.FAILED,
    },
    S.CANCELLING: {
        events.TaskCancelled.TYPE: S.CANCELLED,
        events.TaskCompleted.TYPE: S.COMPLETED,
        events.TaskFailed.TYPE: S.FAILED,
    },
    S.COMPLETED: {},
    S.FAILED: _RUN_AGAIN,
    S.CANCELLED: _RUN_AGAIN,
    S.REJECTED: {},
    S.EXPIRED: _RUN_AGAIN,
}
for _state in WAITING:
    TRANSITIONS[_state] |= dict.fromkeys(STATE_KEPT, _state)

#: The state that each fact leads to, whatever the state before; nothing for those that keep it.
STATE_AFTER: dict[str, TaskStatus] = {
    events.TaskSubmitted.TYPE: S.SUBMITTED,
    **{
        event_type: after
        for moves in TRANSITIONS.values()
        for event_type, after in moves.items()
        if event_type not in STATE_KEPT
    },
}
