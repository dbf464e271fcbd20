"""What an owner may do: each command in each state, and the rules that need words."""

from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from domain import decide as commands
from domain.decide import OwnerCommand, decide, retry
from domain.errors import IllegalTransition
from domain.provider_errors import RATE_LIMITED, UNAVAILABLE
from domain.retry import RetryPolicy
from domain.states import ACTIVE, RETRYABLE, TERMINAL, WAITING, TaskStatus
from domain.task import TaskState, evolve
from schemas import events
from schemas.events import LifecycleEvent
from tests.support.given import AT, COMMANDS, TASK_ID, fact, given, submitted

S = TaskStatus
RUNNING = (submitted(), fact(events.TaskStarted, 1))
CANCELLING = (*RUNNING, fact(events.TaskCancelRequested, 2))
START_AGAIN = replace(COMMANDS[commands.Start], epoch=5)

#: Command, states that allow it, and the facts it gives there. What is not named is illegal.
ALLOWED: list[tuple[type[OwnerCommand], frozenset[TaskStatus], list[type[LifecycleEvent]]]] = [
    (commands.Queue, WAITING - {S.QUEUED}, [events.TaskQueued]),
    (commands.Queue, frozenset({S.QUEUED}), []),
    (commands.Hold, WAITING - {S.HELD}, [events.TaskHeld]),
    (commands.Hold, frozenset({S.HELD}), []),
    (commands.Start, WAITING, [events.TaskStarted]),
    (commands.Complete, ACTIVE, [events.TaskCompleted]),
    (commands.Fail, frozenset({S.RUNNING}), [events.TaskRetryScheduled]),
    (commands.Fail, frozenset({S.CANCELLING}), [events.TaskCancelled]),
    (commands.Fail, WAITING, [events.TaskFailed]),
    (commands.Yield, frozenset({S.RUNNING}), [events.TaskYielded]),
    (commands.Yield, frozenset({S.CANCELLING}), [events.TaskCancelled]),
    (commands.Release, frozenset({S.RUNNING}), [events.TaskReleased]),
    (commands.Release, frozenset({S.CANCELLING}), [events.TaskCancelled]),
    (commands.Lose, frozenset({S.RUNNING}), [events.TaskAttemptLost]),
    (commands.Lose, frozenset({S.CANCELLING}), [events.TaskCancelled]),
    (commands.Cancel, WAITING, [events.TaskCancelled]),
    (commands.Cancel, frozenset({S.RUNNING}), [events.TaskCancelRequested]),
    (commands.Cancel, frozenset({S.CANCELLING}), []),
    (commands.ConfirmCancel, frozenset({S.CANCELLING}), [events.TaskCancelled]),
    (commands.Expire, WAITING, [events.TaskExpired]),
    (commands.ChangePriority, WAITING, [events.TaskPriorityChanged]),
    (commands.ChangePriority, ACTIVE, []),
    (commands.Route, WAITING, [events.TaskRouted]),
]
EXPECTED = {(kind, status): facts for kind, statuses, facts in ALLOWED for status in statuses} | {
    (kind, status): [] for kind in COMMANDS for status in TERMINAL
}


@pytest.mark.parametrize("epoch", [3, 9], ids=["owner", "takeover"])
@pytest.mark.parametrize(
    ("kind", "status"), list(product(COMMANDS, TaskStatus)), ids=lambda value: getattr(value, "__name__", value)
)
def test_command_in_state(kind: type[OwnerCommand], status: TaskStatus, epoch: int) -> None:
    state = TaskState(task_id=TASK_ID, status=status, run=1, epoch=3, sequence=4, attempt=1, submission=submitted())
    command = replace(COMMANDS[kind], epoch=epoch)
    if (kind, status) not in EXPECTED:
        with pytest.raises(IllegalTransition, match=rf"task {TASK_ID}: cannot .*, it is {status}"):
            decide(command, state)
        return
    facts = decide(command, state)
    assert [type(one) for one in facts] == EXPECTED[kind, status]
    assert decide(command, state) == facts
    for one in facts:
        assert one.version > state.version
        state = evolve(state, one)


def test_a_start_is_the_next_attempt_of_the_owners_epoch() -> None:
    state = (
        given(submitted())
        .when(commands.Start(at=AT, epoch=3, worker="w", handler_version=2))
        .then(
            events.TaskStarted(
                task_id=TASK_ID, occurred_at=AT, epoch=3, sequence=1, attempt=1, worker="w", handler_version=2
            )
        )
    )
    assert (state.status, state.attempt, state.started_at) == (S.RUNNING, 1, AT)


def test_a_failure_that_another_attempt_may_mend_waits_for_its_back_off() -> None:
    fail = commands.Fail(
        at=AT, epoch=3, code="busy", detail="x", retryable=True, jitter=0.5, policy=RetryPolicy(10, 99)
    )
    due_at = AT + timedelta(seconds=5)
    expected = fact(events.TaskRetryScheduled, 2, attempt=1, due_at=due_at, error_code="busy", error_detail="x")
    state = given(*RUNNING).when(fail).then(expected)  # type: ignore[arg-type]  # a retry is a lifecycle event
    assert (state.status, state.due_at, state.error_code) == (S.RETRY_SCHEDULED, due_at, "busy")


def test_a_failure_that_nothing_mends_ends_the_task() -> None:
    fail = replace(_fail(), retryable=False)
    facts = decide(fail, given(*RUNNING).state)
    assert [type(one) for one in facts] == [events.TaskFailed]


def test_the_last_attempt_ends_the_task() -> None:
    second = (*RUNNING, fact(events.TaskRetryScheduled, 2, attempt=1), fact(events.TaskStarted, 3, attempt=2))
    assert [type(one) for one in decide(_fail(), given(*second).state)] == [events.TaskFailed]


LAST_ATTEMPT = (submitted(attempts_max=1), fact(events.TaskStarted, 1))


def test_a_providers_not_now_puts_even_the_last_attempt_off_at_no_cost() -> None:
    due_at = AT + timedelta(seconds=30)
    refused = fact(events.TaskReleased, 2, attempt=1, reason="HTTP 429", error_code=RATE_LIMITED, due_at=due_at)
    state = given(*LAST_ATTEMPT).when(_refused(30.0)).then(refused)  # type: ignore[arg-type]  # a release is a lifecycle event
    assert (state.status, state.due_at, state.attempts_used, state.begun) == (S.QUEUED, due_at, 0, False)
    assert (state.error_code, state.error_detail) == (RATE_LIMITED, "HTTP 429")
    (again,) = decide(replace(START_AGAIN, at=due_at), state)
    assert again.attempt == 2, "what is charged is one thing, numbers are another"


def test_waits_that_nobody_asked_for_grow_with_each_refusal() -> None:
    state, waits = given(*LAST_ATTEMPT).state, []
    for _ in range(8):
        (released,) = decide(_refused(None), state)
        assert isinstance(released, events.TaskReleased)
        assert released.due_at is not None
        waits.append((released.due_at - AT).total_seconds())
        state = evolve(evolve(state, released), fact(events.TaskStarted, state.sequence + 2, attempt=state.attempt + 1))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_provider_that_refuses_for_a_day_spends_attempts() -> None:
    """Else a task could wait for ever, and nobody would hear of it."""
    first = fact(events.TaskReleased, 2, attempt=1, error_code=RATE_LIMITED, due_at=AT)
    again = (*LAST_ATTEMPT, first, fact(events.TaskStarted, 3, attempt=2))
    still = replace(_refused(60.0), at=AT + timedelta(hours=23))
    late = replace(_refused(60.0), at=AT + timedelta(hours=24))
    assert [type(one) for one in decide(still, given(*again).state)] == [events.TaskReleased]
    (failed,) = decide(late, given(*again).state)
    assert isinstance(failed, events.TaskFailed)
    assert failed.error_code == RATE_LIMITED


def test_a_refusal_that_no_waiting_heals_is_a_failure() -> None:
    refused = replace(_refused(30.0), retryable=False)
    assert [type(one) for one in decide(refused, given(*RUNNING).state)] == [events.TaskFailed]


def test_a_chain_of_models_is_one_attempt() -> None:
    """Two links fail, the last one for good: that is the one attempt that the task has."""
    link = commands.Release(at=AT, epoch=3, reason="HTTP 503", error_code=UNAVAILABLE)
    state = given(submitted(attempts_max=1)).state
    for number, model in enumerate(("b", "c"), 1):
        on = commands.Route(at=AT, epoch=3, model=model, routing_key=model, reason="fallback")
        for command in (COMMANDS[commands.Start], link, on):
            for one in decide(command, state):
                state = evolve(state, one)
        assert (state.attempt, state.attempts_used, state.model, state.begun) == (number, 0, model, True)
    for command in (COMMANDS[commands.Start], _fail()):
        for one in decide(command, state):
            state = evolve(state, one)
    assert (state.status, state.attempt, state.attempts_used) == (S.FAILED, 3, 1)


@pytest.mark.parametrize("asked_seconds", [float("inf"), 1e300, float("nan"), -5.0])
def test_no_retry_after_can_keep_a_task_for_ever(asked_seconds: float) -> None:
    (released,) = decide(_refused(asked_seconds), given(*RUNNING).state)
    assert isinstance(released, events.TaskReleased)
    assert released.due_at is not None
    assert AT < released.due_at <= AT + timedelta(days=1)


@pytest.mark.parametrize("asked_seconds", [float("inf"), 1e300, float("nan"), -5.0])
def test_no_retry_after_can_break_the_owner(asked_seconds: float) -> None:
    """Retry-After comes from another side, which may send anything."""
    (scheduled,) = decide(replace(_fail(), retry_after_seconds=asked_seconds), given(*RUNNING).state)
    assert isinstance(scheduled, events.TaskRetryScheduled)
    assert AT <= scheduled.due_at <= AT + timedelta(days=1)


def test_a_lost_attempt_counts_and_the_last_one_ends_the_task() -> None:
    once = given(*RUNNING).when(replace(COMMANDS[commands.Lose], epoch=5))
    state = once.then(
        events.TaskAttemptLost(task_id=TASK_ID, occurred_at=AT, epoch=5, sequence=1, attempt=1, lost_epoch=3)
    )
    assert (state.attempts_used, state.attempts_lost, state.attempts_left) == (1, 1, True)
    for one in decide(START_AGAIN, state):
        state = evolve(state, one)
    lost, failed = decide(replace(COMMANDS[commands.Lose], epoch=6), state)
    assert (lost.version, failed.version) == ((1, 6, 1), (1, 6, 2))
    assert isinstance(failed, events.TaskFailed)
    assert failed.error_code == "attempt_lost"
    assert evolve(evolve(state, lost), failed).status is S.FAILED


@pytest.mark.parametrize("hand_back", [commands.Release, commands.Yield])
def test_an_attempt_handed_back_costs_nothing(hand_back: type[OwnerCommand]) -> None:
    state = given(submitted(attempts_max=1)).state
    for round_ in range(1, 4):
        for command in (COMMANDS[commands.Start], COMMANDS[hand_back]):
            for one in decide(command, state):
                state = evolve(state, one)
        assert (state.attempt, state.attempts_used, state.status) == (round_, 0, S.QUEUED)


def test_a_task_without_attempts_left_cannot_start() -> None:
    spent = (submitted(attempts_max=1), fact(events.TaskStarted, 1), fact(events.TaskAttemptLost, 1, epoch=5))
    given(*spent).when(START_AGAIN).then_raises(IllegalTransition, "used up its attempts")


def test_a_yield_keeps_the_checkpoint_for_the_next_start() -> None:
    history = (*RUNNING, fact(events.TaskYielded, 2, checkpoint="half"), fact(events.TaskStarted, 3, attempt=2))
    assert given(*history).state.checkpoint == "half"


def test_a_cancel_is_confirmed_only_when_the_engine_has_stopped() -> None:
    given(*RUNNING).when(COMMANDS[commands.ConfirmCancel]).then_raises(IllegalTransition, "nobody asked it to stop")
    given(*CANCELLING).when(COMMANDS[commands.Cancel]).then_nothing()
    confirmed = events.TaskCancelled(
        task_id=TASK_ID, occurred_at=AT, epoch=3, sequence=3, attempt=1, reason="requested"
    )
    assert given(*CANCELLING).when(COMMANDS[commands.ConfirmCancel]).then(confirmed).status is S.CANCELLED


def test_a_result_that_beats_the_cancel_stands() -> None:
    facts = decide(COMMANDS[commands.Complete], given(*CANCELLING).state)
    assert [type(one) for one in facts] == [events.TaskCompleted]


@pytest.mark.parametrize("status", TaskStatus)
def test_which_tasks_can_be_retried_by_hand(status: TaskStatus) -> None:
    state = TaskState(task_id=TASK_ID, status=status, run=1, epoch=3, sequence=4, attempt=2, submission=submitted())
    if status not in RETRYABLE:
        with pytest.raises(IllegalTransition, match="only cancelled, expired, failed tasks can be retried"):
            retry(state, AT)
        return
    again = retry(state, AT)
    after = evolve(state, again)
    assert (after.status, after.run, after.attempt, after.attempts_used) == (S.SUBMITTED, 2, 2, 0)
    assert after.attempts_left


def test_retries_by_hand_at_the_same_time_are_one() -> None:
    failed = given(*RUNNING, fact(events.TaskFailed, 2)).state
    one, other = retry(failed, AT), retry(failed, AT + timedelta(seconds=1))
    assert one.event_id == other.event_id
    after = evolve(failed, one)
    assert evolve(after, other) is after


def test_a_retry_by_hand_keeps_the_task_and_drops_its_moment() -> None:
    original = submitted(run_at=AT, payload='{"a":1}', model="m", metadata='{"b":2}', tenant="news")
    failed = given(original, fact(events.TaskStarted, 1), fact(events.TaskFailed, 2)).state
    later = AT + timedelta(days=1)
    assert retry(failed, later) == replace(original, occurred_at=later, run=2, attempts_before=1, run_at=None)


def _fail() -> Any:
    return COMMANDS[commands.Fail]


def _refused(asked_seconds: float | None) -> commands.Fail:
    return commands.Fail(
        at=AT, epoch=3, code=RATE_LIMITED, detail="HTTP 429", retryable=True, retry_after_seconds=asked_seconds
    )
