"""Scenarios in the words of the domain: `given(*facts).when(command).then(*facts)`.

Facts and commands of one task come from small builders, so that a test names only what it is about.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain import decide as commands
from domain.decide import OwnerCommand, decide
from domain.task import TaskState, evolve, fold
from schemas import events
from schemas.codec import encode
from schemas.events import LifecycleEvent, TaskEvent, TaskSubmitted

TASK_ID = "t-1"
AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def submitted(**changes: Any) -> TaskSubmitted:
    """The task that scenarios are about: a conversion with two attempts."""
    values: dict[str, Any] = {
        "task_id": TASK_ID,
        "occurred_at": AT,
        "type": "convert",
        "resource_class": "cpu",
        "routing_key": TASK_ID,
        "attempts_max": 2,
    }
    return TaskSubmitted(**values | changes)


_DETAILS: dict[type[TaskEvent], dict[str, Any]] = {
    events.TaskHeld: {"reason": "run_at", "until": AT + timedelta(hours=1), "submission": encode(submitted())},
    events.TaskStarted: {"worker": "w", "attempt": 1},
    events.TaskYielded: {"checkpoint": "half"},
    events.TaskReleased: {"reason": "shutdown"},
    events.TaskAttemptLost: {"lost_epoch": 3},
    events.TaskRetryScheduled: {"due_at": AT + timedelta(minutes=1), "error_code": "busy", "error_detail": "try later"},
    events.TaskPriorityChanged: {"priority": 3, "reason": "requested"},
    events.TaskRouted: {"model": "b", "routing_key": "b", "reason": "cheapest"},
    events.TaskCancelRequested: {"reason": "requested"},
    events.TaskCompleted: {"result": "{}", "duration_seconds": 0.5},
    events.TaskFailed: {"error_code": "broken", "error_detail": "no"},
    events.TaskCancelled: {"reason": "requested"},
    events.TaskRejected: {"error_code": "invalid", "error_detail": "no"},
    events.TaskExpired: {"reason": "too late"},
}


def fact(kind: type[TaskEvent], sequence: int = 1, *, epoch: int = 3, **changes: Any) -> TaskEvent:
    """A fact of the task, by an owner of epoch 3 unless said otherwise."""
    if kind is TaskSubmitted:
        return submitted(**changes)
    values: dict[str, Any] = {"task_id": TASK_ID, "occurred_at": AT, "epoch": epoch, "sequence": sequence}
    return kind(**values | _DETAILS.get(kind, {}) | changes)


#: One command of each kind, by an owner of epoch 3.
COMMANDS: dict[type[OwnerCommand], OwnerCommand] = {
    type(command): command
    for command in (
        commands.Queue(at=AT, epoch=3),
        commands.Hold(at=AT, epoch=3, reason="run_at", until=AT, submission=encode(submitted())),
        commands.Start(at=AT, epoch=3, worker="w"),
        commands.Complete(at=AT, epoch=3, result="{}", duration_seconds=0.5),
        commands.Fail(at=AT, epoch=3, code="busy", detail="try later", retryable=True),
        commands.Yield(at=AT, epoch=3, checkpoint="half"),
        commands.Release(at=AT, epoch=3, reason="shutdown"),
        commands.Lose(at=AT, epoch=3),
        commands.Cancel(at=AT, epoch=3, reason="requested"),
        commands.ConfirmCancel(at=AT, epoch=3, reason="requested"),
        commands.Expire(at=AT, epoch=3, reason="too late"),
        commands.ChangePriority(at=AT, epoch=3, priority=3, reason="requested"),
        commands.Route(at=AT, epoch=3, model="b", routing_key="b", reason="cheapest"),
    )
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command led to."""

    state: TaskState
    command: OwnerCommand

    def then(self, *expected: LifecycleEvent) -> TaskState:
        """The command gives exactly these facts, and they may follow; the state after them."""
        facts = decide(self.command, self.state)
        assert facts == list(expected)
        state = self.state
        for one in facts:
            state = evolve(state, one)
        return state

    def then_nothing(self) -> None:
        """The command was obeyed already."""
        self.then()

    def then_raises(self, error: type[Exception], match: str = "") -> None:
        """The state forbids the command."""
        with pytest.raises(error, match=match):
            decide(self.command, self.state)


@dataclass(frozen=True, slots=True)
class Given:
    """A task with a history."""

    state: TaskState

    def when(self, command: OwnerCommand) -> Outcome:
        """What the command leads to."""
        return Outcome(self.state, command)


def given(*facts: TaskEvent) -> Given:
    """A task to which these facts happened."""
    return Given(fold(TASK_ID, facts))
