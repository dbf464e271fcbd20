"""What the projections know of one run of a task, whatever the order in which its topics are read.

A task's lifecycle facts lie in one partition, so their order is fixed. Its submissions lie in others, and the log
promises nothing about who is read first. So that the same log always gives the same tables:

- each run is folded by itself, so a retry's submission that is read before the end of the run it follows takes
  nothing away from that run;
- a run counts as submitted from its first lifecycle fact on, whether or not its submission has been read;
- the submission that describes a run is the one of the highest sequence, and of those the earliest by the log's own
  clock and place, not the first one read.

With that, tables do not depend on how partitions are interleaved, and readers need not be merged.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.changed import changer
from domain.states import ACTIVE, TaskStatus
from domain.task import TaskState, changed_state, evolve, filled_in
from projections.position import Position
from schemas.codec import UndecodableRecord, decode
from schemas.events import LifecycleEvent, TaskHeld, TaskPriorityChanged, TaskRejected, TaskStarted, TaskSubmitted

MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a task: its state by the rules of `domain.task`, and what only read models keep."""

    state: TaskState
    #: Of the submission, else when the first fact was decided.
    created_at: datetime
    #: The submission as it lies in the log, and where.
    submission_bytes: bytes | None = None
    submission_position: Position | None = None
    #: Of the submission, else what could be read of a rejected one.
    type: str | None = None
    tenant: str | None = None
    hold_reason: str | None = None
    #: When the log took the hold, and when it last took the submission on a class topic.
    held_at: datetime | None = None
    appended_at: datetime | None = None
    first_started_at: datetime | None = None
    #: The attempt that occupies a slot now.
    running_attempt: int | None = None
    #: Time that ended attempts took.
    run_microseconds: int = 0
    #: Given to it since its submission, whichever record of that is read later.
    changed_priority: int | None = None

    @property
    def status(self) -> TaskStatus:
        """What the run waits for."""
        assert self.state.status is not None, "a run begins with a fact"
        return self.state.status


_changed = changer(Run)


def submitted(run: Run | None, fact: TaskSubmitted, record: bytes, position: Position) -> Run:
    """The run after one more record of its submission."""
    described = _described(run, fact, record, position)
    if described.appended_at is not None and described.appended_at >= position.appended_at:
        return described
    return _changed(described, appended_at=position.appended_at)


def lived(run: Run | None, fact: LifecycleEvent, position: Position) -> Run | None:
    """The run after one more lifecycle fact; the very same object where the fact changes nothing.

    Raises:
        CorruptHistory: the fact may not follow what the log says before it.
        UndecodableRecord: a hold without the submission that it holds.
    """
    before = _described(run, *_held_submission(fact), position) if isinstance(fact, TaskHeld) else run
    start = _begun(before, fact)
    state = evolve(start, fact)
    if state is start:
        return run
    before = before or Run(state=start, created_at=fact.occurred_at)
    match fact:
        case TaskStarted():
            return _started(before, state, fact)
        case TaskHeld(reason=reason):
            return _left(before, state, fact, hold_reason=reason, held_at=position.appended_at)
        case TaskPriorityChanged(priority=priority):
            return _changed(before, state=state, changed_priority=priority)
        case TaskRejected() if state.submission is None:
            return _left(before, state, fact, type=fact.type, tenant=fact.tenant)
        case _:
            return _left(before, state, fact)


def _described(run: Run | None, fact: TaskSubmitted, record: bytes, position: Position) -> Run:
    if run is None:
        known = Run(state=evolve(TaskState(task_id=fact.task_id), fact), created_at=fact.occurred_at)
    elif _describes_better(run, fact, position):
        # What it has from the submission that was known so far goes with that.
        known = _changed(run, state=filled_in(changed_state(run.state, priority=run.changed_priority), fact))
    elif fact.attempts_before > run.state.attempt:
        return _changed(run, state=changed_state(run.state, attempt=fact.attempts_before))
    else:
        return run
    return _changed(
        known,
        created_at=fact.occurred_at,
        submission_bytes=record,
        submission_position=position,
        type=fact.type,
        tenant=fact.tenant,
    )


def _describes_better(run: Run, fact: TaskSubmitted, position: Position) -> bool:
    """One that was released with results in its payload comes before all others; then the earliest one."""
    known = run.state.submission
    if known is None or run.submission_position is None:
        return True
    return (-fact.sequence, position) < (-known.sequence, run.submission_position)


def _held_submission(fact: TaskHeld) -> tuple[TaskSubmitted, bytes]:
    held = decode(fact.submission)
    if not isinstance(held, TaskSubmitted) or (held.task_id, held.run) != (fact.task_id, fact.run):
        raise UndecodableRecord("a hold must carry the submission of the run that it holds")
    return held, fact.submission


def _begun(run: Run | None, fact: LifecycleEvent) -> TaskState:
    """The state that a lifecycle fact meets: its submission comes before it, even where it is read after it."""
    if run is None:
        return TaskState(task_id=fact.task_id, status=TaskStatus.SUBMITTED, run=fact.run)
    return run.state


def _started(before: Run, state: TaskState, fact: TaskStarted) -> Run:
    return _changed(
        before,
        state=state,
        first_started_at=before.first_started_at or fact.occurred_at,
        running_attempt=fact.attempt,
        run_microseconds=before.run_microseconds + _running_microseconds(before, fact.occurred_at),
        hold_reason=None,
        held_at=None,
    )


def _left(
    before: Run,
    state: TaskState,
    fact: LifecycleEvent,
    *,
    hold_reason: str | None = None,
    held_at: datetime | None = None,
    type: str | None = None,
    tenant: str | None = None,
) -> Run:
    still_running = before.running_attempt if state.status in ACTIVE else None
    ended = 0 if still_running is not None else _running_microseconds(before, fact.occurred_at)
    return _changed(
        before,
        state=state,
        hold_reason=hold_reason,
        held_at=held_at,
        type=before.type if type is None else type,
        tenant=before.tenant if tenant is None else tenant,
        running_attempt=still_running,
        run_microseconds=before.run_microseconds + ended,
    )


def _running_microseconds(run: Run, until: datetime) -> int:
    """How long the attempt that occupies a slot has done so; writers' clocks may disagree, time never runs back."""
    if run.running_attempt is None or run.state.started_at is None:
        return 0
    return max(0, (until - run.state.started_at) // MICROSECOND)
