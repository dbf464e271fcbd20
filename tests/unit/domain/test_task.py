"""Folding facts: whatever order and however often they are read, one answer."""

from dataclasses import replace
from datetime import timedelta
from functools import reduce
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import decide as commands
from domain.decide import OwnerCommand, decide, retry
from domain.errors import CorruptHistory, IllegalTransition
from domain.states import RETRYABLE, TaskStatus
from domain.task import TaskState, evolve, fold
from schemas import events
from schemas.codec import decode, encode
from schemas.events import TaskEvent, TaskSubmitted
from tests.support.given import AT, COMMANDS, TASK_ID, fact, submitted


@st.composite
def histories(draw: st.DrawFn) -> list[TaskEvent]:
    """What successive owners, each with a true picture, write about a task over up to three runs."""
    facts: list[TaskEvent] = [submitted(attempts_max=draw(st.integers(1, 3)))]
    state, epoch = fold(TASK_ID, facts), draw(st.integers(0, 3))
    for step in range(draw(st.integers(0, 15))):
        at = AT + timedelta(seconds=step)
        epoch += draw(st.sampled_from([0, 0, 0, 1]))
        if state.status in RETRYABLE and state.run < 3:
            new: list[Any] = [retry(state, at)]
        else:
            command = replace(COMMANDS[draw(st.sampled_from(list(COMMANDS)))], at=at, epoch=epoch)
            if isinstance(command, commands.Hold) and state.submission:
                command = replace(command, submission=encode(state.submission))
            new = _decided(command, state)
        facts += new
        state = reduce(evolve, new, state)
    return facts


def _decided(command: OwnerCommand, state: TaskState) -> list[Any]:
    try:
        return list(decide(command, state))
    except IllegalTransition:
        return []


@given(histories())
def test_replay_of_the_records_is_the_fold_of_the_facts(facts: list[TaskEvent]) -> None:
    stepwise = reduce(evolve, facts, TaskState(task_id=TASK_ID))
    replayed = fold(TASK_ID, [_replayed(one) for one in facts])
    assert replayed == stepwise == fold(TASK_ID, facts)


def _replayed(one: TaskEvent) -> TaskEvent:
    message = decode(encode(one))
    assert isinstance(message, events.TASK_EVENTS)
    return message


@given(histories(), st.data())
def test_the_class_topic_may_run_ahead_of_the_lifecycle_or_behind(facts: list[TaskEvent], data: st.DataObject) -> None:
    """Each topic keeps its order and neither knows the other's; every merge of the two is the same task."""
    topics = (
        [one for one in facts if isinstance(one, TaskSubmitted)],
        [one for one in facts if not isinstance(one, TaskSubmitted)],
    )
    merged: list[TaskEvent] = []
    left = [list(topic) for topic in topics]
    while all(left):
        merged.append(left[data.draw(st.integers(0, 1))].pop(0))
    assert fold(TASK_ID, [*merged, *left[0], *left[1]]) == fold(TASK_ID, facts)


@given(histories(), st.data())
def test_repeats_change_nothing(facts: list[TaskEvent], data: st.DataObject) -> None:
    """A record once read may be read again at any later moment."""
    repeated: list[TaskEvent] = []
    for one in facts:
        repeated.append(one)
        repeated += data.draw(st.lists(st.sampled_from(repeated), max_size=2))
    assert fold(TASK_ID, repeated) == fold(TASK_ID, facts)


@given(histories(), st.data())
def test_facts_of_a_dead_owner_have_no_effect(facts: list[TaskEvent], data: st.DataObject) -> None:
    """Once a higher epoch has spoken, nothing of a lower one changes the task, be it an end or a beginning."""
    state = fold(TASK_ID, facts)
    if state.epoch > 0:
        kind = data.draw(st.sampled_from([kind for kind in events.TASK_EVENTS if kind is not TaskSubmitted]))
        stale = fact(
            kind, data.draw(st.integers(1, 99)), epoch=data.draw(st.integers(0, state.epoch - 1)), run=state.run
        )
        assert evolve(state, stale) is state


def test_a_late_submission_only_says_what_the_task_is() -> None:
    started = fact(events.TaskStarted, 1)
    state = fold(TASK_ID, [started, submitted()])
    assert state == fold(TASK_ID, [submitted(), started])
    assert (state.status, state.submission) == (TaskStatus.RUNNING, submitted())


def test_held_work_says_what_it_is_before_its_class_topic_does() -> None:
    waiting = submitted(run_at=AT + timedelta(hours=1))
    state = fold(TASK_ID, [fact(events.TaskHeld, 1, epoch=0, submission=encode(waiting), until=waiting.run_at)])
    assert (state.status, state.submission, state.due_at) == (TaskStatus.HELD, waiting, waiting.run_at)
    assert evolve(state, waiting) is state


@pytest.mark.parametrize(
    ("held", "says"),
    [
        (b"nonsense", "not Avro single-object"),
        (encode(fact(events.TaskQueued)), "it holds task.queued"),
        (encode(submitted(task_id="other")), "of task other"),
    ],
)
def test_a_hold_of_nothing_readable_is_a_corrupt_history(held: bytes, says: str) -> None:
    with pytest.raises(CorruptHistory, match=says):
        fold(TASK_ID, [fact(events.TaskHeld, 1, submission=held)])


def test_a_corrupt_history_says_where() -> None:
    with pytest.raises(CorruptHistory) as raised:
        fold(TASK_ID, [submitted(), fact(events.TaskQueued, 1), fact(events.TaskCompleted, 2)])
    assert raised.value.version == (1, 3, 2)
    assert str(raised.value) == "task t-1: task.completed (run, epoch, sequence (1, 3, 2)) cannot follow queued"


def test_one_attempt_handed_back_by_two_owners_is_one() -> None:
    """The first owner releases while its successor, which found the attempt running, releases it too."""
    released = [fact(events.TaskReleased, 2, attempt=1), fact(events.TaskReleased, 1, epoch=5, attempt=1)]
    state = fold(TASK_ID, [submitted(), fact(events.TaskStarted, 1), *released])
    assert (state.attempts_returned, state.attempts_used) == (1, 0)


def test_one_refusal_told_by_two_owners_is_one() -> None:
    refused: dict[str, Any] = {"attempt": 1, "error_code": "rate_limited", "due_at": AT + timedelta(seconds=5)}
    told = [fact(events.TaskReleased, 2, **refused), fact(events.TaskReleased, 1, epoch=5, **refused)]
    state = fold(TASK_ID, [submitted(), fact(events.TaskStarted, 1), *told])
    assert (state.attempts_refused, state.attempts_used, state.refused_since_at) == (1, 0, AT)


def test_a_new_run_forgets_all_but_the_numbers_of_its_attempts() -> None:
    first = [submitted(), fact(events.TaskStarted, 1), fact(events.TaskFailed, 2)]
    state = fold(TASK_ID, [*first, submitted(run=2, attempts_before=1, occurred_at=AT + timedelta(days=1))])
    assert state == TaskState(
        task_id=TASK_ID,
        status=TaskStatus.SUBMITTED,
        run=2,
        attempt=1,
        submission=state.submission,
        priority=2,
        routing_key=TASK_ID,
        submitted_at=AT + timedelta(days=1),
    )


def test_a_result_clears_the_error_of_an_earlier_attempt() -> None:
    history = [
        submitted(),
        fact(events.TaskStarted, 1),
        fact(events.TaskRetryScheduled, 2, attempt=1),
        fact(events.TaskStarted, 3, attempt=2),
    ]
    assert fold(TASK_ID, history).error_code == "busy"
    done = fold(TASK_ID, [*history, fact(events.TaskCompleted, 4, attempt=2)])
    assert (done.error_code, done.error_detail, done.due_at, done.finished_at) == (None, None, None, AT)


def test_a_changed_priority_outlives_the_late_submission_and_keeps_what_the_task_waits_for() -> None:
    scheduled = [fact(events.TaskStarted, 1), fact(events.TaskRetryScheduled, 2, attempt=1)]
    state = fold(TASK_ID, [*scheduled, fact(events.TaskPriorityChanged, 3, priority=3), submitted()])
    assert (state.status, state.priority) == (TaskStatus.RETRY_SCHEDULED, 3)
    assert state.due_at == AT + timedelta(minutes=1)


def test_a_priority_changed_before_anything_else_was_read_leaves_a_submitted_task() -> None:
    state = fold(TASK_ID, [fact(events.TaskPriorityChanged, 1, priority=1), submitted()])
    assert (state.status, state.priority) == (TaskStatus.SUBMITTED, 1)


def test_a_route_stands_and_is_remembered_whenever_the_submission_is_read() -> None:
    routes = [fact(events.TaskRouted, 1, model="a", routing_key="x"), fact(events.TaskRouted, 2, model="b")]
    for history in ([submitted(model="auto"), *routes], [*routes, submitted(model="auto")]):
        state = fold(TASK_ID, history)
        assert (state.model, state.routing_key, state.routed_to) == ("b", "b", ("a", "b"))
        assert state.status is TaskStatus.QUEUED


def test_a_task_keeps_its_changed_priority_in_a_run_by_hand() -> None:
    state = fold(TASK_ID, [submitted(), fact(events.TaskPriorityChanged, 1, priority=3), fact(events.TaskCancelled, 2)])
    again = retry(state, AT)
    assert (again.priority, again.deadline_at) == (3, None)


def test_commands_cover_every_kind() -> None:
    """`COMMANDS` drives the generated tests, so it must not fall behind the union."""
    assert set(COMMANDS) == set(get_args(OwnerCommand))
