"""The judge of a chaos run: it finds nothing in a good history, and names the task in a bad one."""

import json
from typing import Any

import pytest

from schemas import events
from schemas.events import TaskEvent
from tests.chaos.judge import judge, live
from tests.chaos.ledger import Execution
from tests.support.given import TASK_ID, fact, submitted

COMPLETED = {TASK_ID: frozenset({"completed"})}


def started(attempt: int, sequence: int, epoch: int = 3, worker: int = 101) -> TaskEvent:
    return fact(events.TaskStarted, sequence, epoch=epoch, attempt=attempt, worker=f"host/{worker}")


def completed(execution: str, sequence: int, epoch: int = 3, attempt: int = 1) -> TaskEvent:
    result = json.dumps({"execution": execution})
    return fact(events.TaskCompleted, sequence, epoch=epoch, attempt=attempt, result=result)


def ran(execution: str, attempt: int = 1, epoch: int = 3, worker: int = 101) -> Execution:
    return Execution(
        execution=execution,
        task_id=TASK_ID,
        attempt=attempt,
        epoch=epoch,
        worker=worker,
        process=worker,
        begun=1.0,
        ended=2.0,
        how="returned",
    )


def broken(facts: list[TaskEvent], *executions: Execution, accepted: Any = None) -> list[str]:
    lives = {TASK_ID: live(TASK_ID, facts)}
    found = judge(COMPLETED if accepted is None else accepted, lives, executions)
    assert all(TASK_ID in text or "t-9" in text for problems in found.values() for text in problems)
    return [promise for promise, problems in found.items() if problems]


GOOD = [submitted(), started(1, 1), completed("a", 2)]
TAKEN_OVER = [
    submitted(),
    started(1, 1),
    fact(events.TaskAttemptLost, 1, epoch=4, attempt=1),
    started(2, 2, epoch=4, worker=202),
]


def test_a_good_run() -> None:
    assert broken(GOOD, ran("a")) == []


def test_a_zombie_whose_late_result_does_not_count() -> None:
    facts = [*TAKEN_OVER, completed("a", 2), completed("b", 3, epoch=4, attempt=2)]
    assert broken(facts, ran("a"), ran("b", 2, 4, 202)) == []
    assert live(TASK_ID, facts).ignored == 1


@pytest.mark.parametrize(
    ("facts", "executions", "promise"),
    [
        (GOOD[:2], [ran("a")], "one terminal state each"),
        ([submitted(), started(1, 1), fact(events.TaskFailed, 2)], [ran("a")], "one terminal state each"),
        (GOOD, [], "what counts is what the successor ran"),
        ([*TAKEN_OVER, completed("a", 3, epoch=4)], [ran("a"), ran("b", 2, 4, 202)], "what counts is"),
        (
            [submitted(), started(1, 1), started(1, 2, 4), completed("a", 3, 4)],
            [ran("a", 1, 4)],
            "attempts are numbered",
        ),
        ([submitted(), started(1, 1), started(2, 2), completed("a", 3)], [ran("a")], "no history is corrupt"),
        (GOOD, [ran("a"), ran("b", 2)], "no handler runs before its start is on record"),
    ],
)
def test_what_is_broken_is_found(facts: list[TaskEvent], executions: list[Execution], promise: str) -> None:
    assert [name for name in broken(facts, *executions) if name.startswith(promise)]


def test_a_task_that_is_not_in_the_log_is_lost() -> None:
    assert broken(GOOD, ran("a"), accepted={"t-9": frozenset({"completed"})}) == ["no task is lost"]
