"""The table of moves: complete, and obeyed cell by cell."""

from datetime import timedelta
from itertools import product

import pytest

from domain.errors import CorruptHistory
from domain.states import ACTIVE, RETRYABLE, STATE_AFTER, STATE_KEPT, TERMINAL, TRANSITIONS, WAITING, TaskStatus
from domain.task import TaskState, evolve
from schemas.events import TASK_EVENTS, TaskEvent, TaskSubmitted
from tests.support.given import AT, TASK_ID, fact, submitted

LIFECYCLE = [kind for kind in TASK_EVENTS if kind is not TaskSubmitted]
CELLS = list(product(TaskStatus, LIFECYCLE))


def in_state(status: TaskStatus) -> TaskState:
    return TaskState(task_id=TASK_ID, status=status, run=1, epoch=3, sequence=4, attempt=1, submission=submitted())


def test_every_state_is_in_exactly_one_group() -> None:
    assert sorted([*WAITING, *ACTIVE, *TERMINAL]) == sorted(TaskStatus)
    assert set(TRANSITIONS) == set(TaskStatus)
    assert RETRYABLE < TERMINAL


def test_every_event_leads_to_one_state_or_keeps_each_wherever_it_comes_from() -> None:
    assert sorted([*STATE_AFTER, *STATE_KEPT]) == sorted(kind.TYPE for kind in TASK_EVENTS)
    for status, moves in TRANSITIONS.items():
        assert all(STATE_AFTER.get(event_type, status) is after for event_type, after in moves.items())


def test_only_a_retry_leaves_a_terminal_state() -> None:
    for status in TERMINAL:
        assert set(TRANSITIONS[status]) == ({TaskSubmitted.TYPE} if status in RETRYABLE else set())


def test_every_state_can_be_reached_and_every_other_one_can_end() -> None:
    reached = {TaskStatus.SUBMITTED}
    while more := {after for status in reached for after in TRANSITIONS[status].values()} - reached:
        reached |= more
    assert reached == set(TaskStatus)
    ending = set(TERMINAL)
    while more := {status for status, moves in TRANSITIONS.items() if ending & set(moves.values())} - ending:
        ending |= more
    assert ending == set(TaskStatus)


@pytest.mark.parametrize(("status", "kind"), CELLS, ids=lambda value: getattr(value, "TYPE", value))
def test_cell_within_an_epoch(status: TaskStatus, kind: type[TaskEvent]) -> None:
    state, event = in_state(status), fact(kind, 5)
    if status in TERMINAL:
        assert evolve(state, event) is state
    elif kind.TYPE in TRANSITIONS[status]:
        assert evolve(state, event).status is TRANSITIONS[status][kind.TYPE]
    else:
        with pytest.raises(CorruptHistory, match=rf"{kind.TYPE} .* cannot follow {status}"):
            evolve(state, event)


@pytest.mark.parametrize(("status", "kind"), CELLS, ids=lambda value: getattr(value, "TYPE", value))
def test_cell_at_a_takeover(status: TaskStatus, kind: type[TaskEvent]) -> None:
    """A new owner has folded the log, so its word stands; only a terminal state does not listen."""
    state = in_state(status)
    after = evolve(state, fact(kind, 1, epoch=9))
    assert after.status is (status if status in TERMINAL else STATE_AFTER.get(kind.TYPE, status))


@pytest.mark.parametrize(("status", "kind"), CELLS, ids=lambda value: getattr(value, "TYPE", value))
def test_cell_of_a_stale_owner_or_a_repeat(status: TaskStatus, kind: type[TaskEvent]) -> None:
    state = in_state(status)
    assert evolve(state, fact(kind, 99, epoch=2)) is state
    assert evolve(state, fact(kind, 4)) is state


@pytest.mark.parametrize("status", TaskStatus)
def test_the_next_run_begins_from_any_state(status: TaskStatus) -> None:
    """The class topic and task-lifecycle have no common order: the retry can be read before the end it follows."""
    again = submitted(run=2, attempts_before=1, occurred_at=AT + timedelta(hours=1))
    after = evolve(in_state(status), again)
    assert (after.status, after.version, after.attempt, after.attempts_used) == (TaskStatus.SUBMITTED, (2, 0, 0), 1, 0)
    assert evolve(after, submitted()) is after
