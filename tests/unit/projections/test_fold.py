"""The fold: the same log gives the same read models, however it is read."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.states import TaskStatus
from domain.task import fold as domain_fold
from projections.anomalies import Finding
from projections.attempts import Outcome
from projections.daily_statistics import Cell
from projections.fold import fold, read
from projections.position import Position
from projections.queue_depth import Depth
from projections.tasks import row_of
from schemas import events
from schemas.codec import encode
from schemas.commands import CancelTask
from streams.topics import LIFECYCLE
from tests.support.logs import BEGIN, Log, lives, split, submission
from tests.support.tables import Tables, projected


@given(seed=st.integers(0, 2**32), reading=st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_tables_depend_neither_on_interleaving_nor_on_batches(seed: int, reading: int) -> None:
    log, chance = lives(seed), random.Random(reading)
    expected = projected([log.in_order()]).rows()
    actual = projected(split(log.shuffled(chance), chance)).rows()
    for table, rows in expected.items():
        assert actual[table] == rows, table


@given(seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_projecting_twice_is_projecting_once(seed: int) -> None:
    log = lives(seed)
    once = projected([log.in_order()])
    expected = dict(once.rows())
    changes = once.project(log.in_order())
    assert not changes.runs
    assert not any(changes.depths.values())
    assert not changes.statistics
    assert once.rows() == expected


@given(seed=st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_rows_equal_what_the_rules_say(seed: int) -> None:
    """The latest run's state is the fold of the facts that were accepted, in the order of the log."""
    log = lives(seed, tasks=1)
    tables = projected([log.in_order()])
    corrupt = {(line.topic, line.partition, line.offset) for line in tables.anomalies.values()}
    facts = [each.fact for each in log.in_order() if each.position[1:] not in corrupt]
    for task_id, runs in tables.runs.items():
        assert runs[max(runs)].state == domain_fold(task_id, facts)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_numbers_equal_what_can_be_counted(seed: int) -> None:
    tables = projected([lives(seed).in_order()])
    latest = Counter(str(runs[max(runs)].status) for runs in tables.runs.values())
    counted: Counter[str] = Counter()
    for depth, count in tables.depths.items():
        counted[str(depth.status)] += count
    assert +counted == latest
    ended = Counter(str(run.status) for runs in tables.runs.values() for run in runs.values() if run.state.terminal)
    stated: Counter[str] = Counter()
    for cell, count in tables.statistics.items():
        stated[cell.counter] += count
    assert {name: stated[name] for name in ended} == ended


def life(*facts: events.TaskEvent) -> Tables:
    log = Log()
    return projected([[log.append(fact) for fact in facts]])


def started(attempt: int, *, epoch: int = 1, sequence: int = 1, seconds: int = 10, run: int = 1) -> events.TaskStarted:
    at = BEGIN + timedelta(seconds=seconds)
    return events.TaskStarted(
        task_id="t-1", occurred_at=at, run=run, epoch=epoch, sequence=sequence, attempt=attempt, worker="w"
    )


def completed(attempt: int, *, epoch: int = 1, sequence: int = 2, seconds: int = 40) -> events.TaskCompleted:
    return events.TaskCompleted(
        task_id="t-1",
        occurred_at=BEGIN + timedelta(seconds=seconds),
        epoch=epoch,
        sequence=sequence,
        attempt=attempt,
        result="{}",
        duration_seconds=1.0,
    )


def test_an_attempt_tells_why_it_waited_what_it_ran_on_and_what_it_used() -> None:
    start = replace(started(1), waited_ms={"priority": 1200, "delivery": 3}, strategy="fair", model="m-1")
    end = replace(completed(1), usage={"prompt_tokens": 12.0, "cost": float("inf")})
    tables = life(submission(), start, end)
    ((opened, closed),) = tables.attempts.values()
    assert opened is not None
    assert (opened.waited_ms, opened.strategy, opened.model) == ('{"priority":1200,"delivery":3}', "fair", "m-1")
    assert closed is not None
    assert closed.usage == '{"prompt_tokens":12.0,"cost":null}', "a number that JSON does not know must stop nobody"


def test_an_accepted_result_closes_its_attempt_and_counts_on_the_day_it_came() -> None:
    tables = life(submission(), started(1), completed(1))
    ((opened, closed),) = tables.attempts.values()
    assert (opened.worker, closed.outcome, closed.ended_at) == ("w", Outcome.COMPLETED, BEGIN + timedelta(seconds=40))
    assert tables.statistics == {
        Cell(date(2026, 11, 20), "convert", "default", "submitted"): 1,
        Cell(date(2026, 11, 21), "convert", "default", "completed"): 1,
        Cell(date(2026, 11, 21), "convert", "default", "run_microseconds"): 30_000_000,
        Cell(date(2026, 11, 21), "convert", "default", "wait_microseconds"): 10_000_000,
    }
    assert tables.ended == ["t-1"]


def test_a_zombies_result_is_on_record_without_effect() -> None:
    tables = life(submission(), started(1), started(2, epoch=2), completed(1, epoch=1, sequence=9))
    assert tables.runs["t-1"][1].status is TaskStatus.RUNNING
    assert [line.accepted for line in tables.history.values()] == [True, True, True, False]
    assert [closed and closed.outcome for _, closed in tables.attempts.values()] == [Outcome.LOST, None]


def test_a_retry_read_before_the_end_of_its_first_run_takes_nothing_away() -> None:
    failed = events.TaskFailed(
        task_id="t-1", occurred_at=BEGIN, epoch=1, sequence=2, attempt=1, error_code="e", error_detail="d"
    )
    again = submission(run=2, attempts_before=1)
    late, early = life(submission(), again, started(1), failed), life(submission(), started(1), failed, again)
    assert {run: each.status for run, each in late.runs["t-1"].items()} == {1: "failed", 2: "submitted"}
    assert late.depths == early.depths == {Depth("cpu", 2, "submitted"): 1}
    assert late.statistics == early.statistics


def test_what_only_the_lifecycle_tells_is_shown_until_the_submission_is_read() -> None:
    tables = life(started(1))
    run = tables.runs["t-1"][1]
    assert (run.status, run.type, run.created_at) == (TaskStatus.RUNNING, None, BEGIN + timedelta(seconds=10))
    assert tables.depths == {Depth("unknown", 0, "running"): 1}


def test_a_rejection_says_what_could_be_read() -> None:
    rejected = events.TaskRejected(
        task_id="t-1", occurred_at=BEGIN, sequence=1, error_code="bad", error_detail="why\0", type="convert"
    )
    tables = life(rejected)
    run = tables.runs["t-1"][1]
    assert (run.status, run.type, run.tenant) == (TaskStatus.REJECTED, "convert", None)
    assert "why" in row_of(run, latest=True)
    assert Cell(date(2026, 11, 20), "convert", "unknown", "rejected") in tables.statistics


def test_a_record_that_is_no_fact_becomes_an_anomaly() -> None:
    position = Position(1_000, LIFECYCLE, 3, 7)
    command = encode(CancelTask(task_id="t-1", requested_at=BEGIN))
    nul = encode(replace(started(1), task_id="\0"))
    for record in (None, b"", b"nonsense", encode(submission())[:-3], command, nul):
        found = read(record, position)
        assert isinstance(found, Finding)
        assert found[:3] == (LIFECYCLE, 3, 7)
        assert found.appended_at.tzinfo is UTC
        assert fold([found], {}).anomalies == [found]


def test_a_lifecycle_fact_on_a_class_topic_is_an_anomaly() -> None:
    found = read(encode(started(1)), Position(1_000, "tasks-cpu-normal", 0, 0))
    assert isinstance(found, Finding)
    assert "task-lifecycle" in found.reason


def test_an_impossible_fact_changes_nothing_and_is_reported() -> None:
    tables = life(submission(), completed(1, epoch=0, sequence=1))
    assert tables.runs["t-1"][1].status is TaskStatus.SUBMITTED
    (found,) = tables.anomalies.values()
    assert "cannot follow submitted" in found.reason


def test_a_hold_with_something_else_in_it_is_an_anomaly_whether_or_not_the_task_is_known() -> None:
    hold = events.TaskHeld(task_id="t-1", occurred_at=BEGIN, sequence=1, reason="run_at", submission=b"?")
    other = events.TaskHeld(
        task_id="t-1", occurred_at=BEGIN, sequence=1, reason="run_at", submission=encode(submission("t-2"))
    )
    for fact in (hold, other):
        assert len(life(fact).anomalies) == len(life(submission(), fact).anomalies) == 1


def test_history_leaves_large_fields_to_the_task() -> None:
    tables = life(submission(payload='{"secret":1}'))
    (line,) = tables.history.values()
    assert "payload" not in line.data
    assert '"type":"convert"' in line.data
