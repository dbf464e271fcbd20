"""The rules by which the ledger of a chaos run is judged: each of them must be able to say no."""

from pathlib import Path
from typing import Any

import pytest

from tests.chaos.ledger import Execution, Frozen, note, overlaps, read, with_deaths

OLD, NEW = 101, 202


def ran(attempt: int, epoch: int, worker: int, begun: float, ended: float | None, **more: Any) -> Execution:
    return Execution(
        execution=f"{attempt}/{epoch}/{worker}",
        task_id="t-1",
        attempt=attempt,
        epoch=epoch,
        worker=worker,
        process=more.pop("process", worker),
        begun=begun,
        ended=ended,
        how=None if ended is None else "returned",
    )


def found(*executions: Execution, frozen: tuple[Frozen, ...] = ()) -> list[str]:
    return overlaps(executions, frozen, grace_seconds=5.0)


def test_attempts_that_follow_one_another_are_fine() -> None:
    assert found(ran(1, 3, OLD, 0, 10), ran(2, 3, OLD, 11, 20), ran(3, 4, NEW, 21, 30)) == []


def test_a_zombie_may_run_on_until_it_learns_of_its_successor() -> None:
    zombie, successor = ran(1, 3, OLD, 0, 40), ran(2, 4, NEW, 15, 60)
    assert found(zombie, successor, frozen=(Frozen(OLD, 2, 38),)) == []


@pytest.mark.parametrize(
    ("executions", "what"),
    [
        ((ran(1, 3, OLD, 0, 40), ran(2, 4, NEW, 15, 60)), "a fenced worker went on"),
        ((ran(1, 3, OLD, 0, None), ran(2, 4, NEW, 15, 60)), "a fenced worker went on"),
        ((ran(1, 3, OLD, 0, 10), ran(2, 3, OLD, 9, 20)), "one worker ran the task twice at a time"),
        ((ran(1, 3, OLD, 0, 10), ran(1, 4, OLD, 12, 20)), "one worker began an attempt twice"),
        ((ran(1, 3, OLD, 0, 10), ran(2, 3, NEW, 9, 20)), "two workers ran the task under one epoch"),
        ((ran(1, 3, OLD, 0, 10), ran(1, 4, NEW, 30, 40)), "an attempt number was given again"),
        ((ran(1, 3, OLD, 0, 10), ran(1, 3, NEW, 30, 40)), "one attempt was begun twice under one epoch"),
    ],
)
def test_what_may_not_be(executions: tuple[Execution, ...], what: str) -> None:
    (problem,) = found(*executions)
    assert what in problem
    assert "t-1" in problem


def test_a_freeze_excuses_nothing_beyond_the_grace_after_it() -> None:
    (problem,) = found(ran(1, 3, OLD, 0, 40), ran(2, 4, NEW, 15, 60), frozen=(Frozen(OLD, 2, 20),))
    assert "a fenced worker went on" in problem
    assert found(ran(1, 3, OLD, 0, 40), ran(2, 4, NEW, 15, 60), frozen=(Frozen(NEW, 2, 39),)) != []


def test_an_execution_ends_with_its_process_or_its_worker() -> None:
    in_engine = ran(1, 3, OLD, 5, None, process=333)
    assert with_deaths([in_engine], {333: 8.0, OLD: 9.0})[0].ended == 8.0
    assert with_deaths([in_engine], {OLD: 9.0})[0].how == "died"
    assert with_deaths([in_engine], {NEW: 9.0})[0].ended is None


def test_what_was_noted_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    note(str(path), what="begin", execution="a", task="t-1", attempt=1, epoch=3, worker=OLD)
    note(str(path), what="begin", execution="b", task="t-2", attempt=2, epoch=4, worker=OLD)
    note(str(path), what="raised", execution="a")
    first, second = read(path)
    assert (first.task_id, first.attempt, first.epoch, first.how) == ("t-1", 1, 3, "raised")
    assert first.ended is not None
    assert first.ended >= first.begun
    assert second.ended is None
