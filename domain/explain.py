"""Why a task waits, or waited: one sentence, and the figures that it is made of. Pure.

What is said of a waiting task is what its strategy would do if nothing more came: its place is counted in the read
model, what closes its lane is what the workers said a moment ago, and times go by how long attempts have taken.
"""

from __future__ import annotations

from datetime import datetime

from domain import holds, waits
from domain.explanation import Circumstances, Explanation, seconds_to, stopped, until_resumed, waited
from domain.place import Place
from domain.spoken import counted, duration, listed, moment, one_line
from domain.states import TaskStatus
from domain.task import TaskState


def explain(about: Circumstances) -> Explanation:
    """Why the task is where it is."""
    match about.state.status:
        case TaskStatus.HELD:
            return _held(about)
        case TaskStatus.RETRY_SCHEDULED:
            return _retry(about)
        case TaskStatus.RUNNING | TaskStatus.CANCELLING:
            return _running(about)
        case TaskStatus.SUBMITTED | TaskStatus.QUEUED | None:
            return _in_line(about)
        case _:
            return _ended(about)


def _held(about: Circumstances) -> Explanation:
    reason, until = about.hold_reason or "", about.state.due_at
    cause = waits.PAUSED if holds.kind_of(reason) in (holds.PAUSED, holds.MODEL_OFFLINE) else waits.HELD
    if paused := holds.paused_what(reason):
        sentence = until_resumed(*paused, about.configuration.pauses.get(paused), about.now)
        return Explanation(sentence=sentence, cause=cause)
    if model := holds.offline_model(reason):
        return Explanation(sentence=f"It is held until model {model} is online again.", cause=cause)
    when = f"{moment(until, about.now)}, in {duration(seconds_to(until, about.now))}" if until else "it is released"
    estimate = seconds_to(until, about.now) if until else None
    match holds.kind_of(reason):
        case holds.QUEUE_FULL:
            return Explanation(sentence=f"It is held until class {_class(about)} has room for it.", cause=cause)
        case holds.DEPENDENCIES:
            tasks = about.state.submission.depends_on if about.state.submission else ()
            others = f"the tasks that it depends on have ended: {listed(tasks)}" if tasks else "other tasks have ended"
            later = f", and not before {when}" if until and until > about.now else ""
            return Explanation(sentence=f"It is held until {others}{later}.", cause=cause)
        case holds.RUN_AT if until and until <= about.now:
            sentence = (
                f"Its time was {moment(until, about.now)}; it is held until class {_class(about)} has room for it."
            )
            return Explanation(sentence=sentence, cause=cause)
        case holds.RUN_AT | "":
            return Explanation(sentence=f"It is held until {when}.", cause=cause, estimate_seconds=estimate)
        case _:
            return Explanation(
                sentence=f"It is held until {when} ({one_line(reason)}).", cause=cause, estimate_seconds=estimate
            )


def _retry(about: Circumstances) -> Explanation:
    state = about.state
    attempts = f"attempt {state.attempt + 1}"
    why = f", since attempt {state.attempt} failed with {_error(state)}"
    if state.due_at is None:
        return Explanation(sentence=f"It waits for {attempts}{why}.", cause=waits.BACKOFF)
    left = seconds_to(state.due_at, about.now)
    due = f"at {moment(state.due_at, about.now)}, in {duration(left)}" if left else "which is due"
    return Explanation(sentence=f"It waits for {attempts} {due}{why}.", cause=waits.BACKOFF, estimate_seconds=left)


def _running(about: Circumstances) -> Explanation:
    state = about.state
    doing = "is being stopped" if state.status is TaskStatus.CANCELLING else "runs"
    since = f" since {moment(state.started_at, about.now)}" if state.started_at else ""
    sentence = f"It {doing}, as attempt {state.attempt}{since}{_after(about)}."
    return Explanation(sentence=sentence, waited_ms=about.waited_ms)


def _ended(about: Circumstances) -> Explanation:
    state = about.state
    if state.status is TaskStatus.REJECTED:
        return Explanation(sentence=stopped(f"It was rejected with {_error(state)}"))
    tries = "" if state.attempt < 2 else f" in {counted(state.attempt, 'attempt')}"
    how = {
        TaskStatus.COMPLETED: "It completed",
        TaskStatus.FAILED: f"It failed{tries} with {_error(state)}",
        TaskStatus.CANCELLED: "It was cancelled",
        TaskStatus.EXPIRED: "It expired, since its deadline passed before it could start",
    }[state.status or TaskStatus.COMPLETED]
    if not state.attempt:
        before = state.finished_at and state.submitted_at and (state.finished_at - state.submitted_at).total_seconds()
        lasted = f" {duration(before)}" if before else ""
        return Explanation(sentence=f"{how}; it waited{lasted} and never started.", waited_ms=about.waited_ms)
    if state.status is not TaskStatus.FAILED:
        how += tries
    return Explanation(sentence=f"{how}{_after(about)}.", waited_ms=about.waited_ms)


def _in_line(about: Circumstances) -> Explanation:
    submission = about.state.submission
    if submission is None or about.line is None:
        return Explanation(sentence="It is on its way to a worker.", cause=waits.DELIVERY)
    model, tenant = about.state.model, submission.tenant
    if pause := about.configuration.pause_of(submission.resource_class, model, tenant):
        sentence = until_resumed(pause.scope, pause.name, pause, about.now)
        return Explanation(sentence=sentence, cause=waits.PAUSED)
    if not about.configuration.online(model):
        return Explanation(sentence=f"It waits until model {model} is online again.", cause=waits.PAUSED)
    if about.state.due_at is not None and about.state.due_at > about.now:
        return _put_off(about, about.state.due_at)
    if not about.dispatchers:
        sentence = f"It waits for a worker: none of class {submission.resource_class} is at work."
        return Explanation(sentence=sentence, cause=waits.RECOVERY)
    return Place(about, about.line).explanation()


def _put_off(about: Circumstances, due_at: datetime) -> Explanation:
    left = seconds_to(due_at, about.now)
    until = f"{moment(due_at, about.now)}, in {duration(left)}"
    why = f"since its provider refused attempt {about.state.attempt} with {_error(about.state)}"
    sentence = f"It waits until {until}, {why}; that costs it no attempt."
    return Explanation(sentence=sentence, cause=waits.RATE_LIMIT, estimate_seconds=left)


def _class(about: Circumstances) -> str:
    return about.state.submission.resource_class if about.state.submission else "unknown"


def _after(about: Circumstances) -> str:
    """What it waited for, where that was recorded."""
    return f", after it waited {waited(about.waited_ms)}" if any(about.waited_ms.values()) else ""


def _error(state: TaskState) -> str:
    """Why an attempt failed, without a full stop of its own."""
    return one_line(f"{state.error_code or 'an error'}: {state.error_detail or ''}").rstrip(". :")
