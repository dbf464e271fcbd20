"""Identifiers that old logs depend on: the same fact has the same id, for ever."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import events
from schemas.commands import CancelTask
from schemas.events import NAMESPACE, derived_uuid

AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
STARTED = events.TaskStarted(task_id="t", occurred_at=AT, run=1, epoch=7, sequence=2, attempt=1, worker="w")


def test_ids_of_known_messages_never_change() -> None:
    """Constants on purpose: whatever breaks them breaks the recognition of repeats in logs that exist."""
    submitted = events.TaskSubmitted(task_id="t", occurred_at=AT, type="x", resource_class="cpu", routing_key="t")
    assert submitted.event_id == "f98b3ed7-9da2-54c0-be78-a0d16dfe4588"
    assert STARTED.event_id == "28203f13-6879-5b33-b72f-25db9b1ec7bf"
    assert CancelTask(task_id="t", requested_at=AT).event_id == "c4c1f857-24f3-5e3b-9263-12f17cfb9f8e"


def test_when_and_by_whom_makes_no_difference() -> None:
    assert replace(STARTED, occurred_at=AT.replace(year=2030), worker="other").event_id == STARTED.event_id


@pytest.mark.parametrize(
    "change",
    [{"task_id": "u"}, {"run": 2}, {"epoch": 8}, {"sequence": 3}, {"attempt": 2}],
    ids=lambda change: next(iter(change)),
)
def test_another_fact_has_another_id(change: dict[str, object]) -> None:
    assert replace(STARTED, **change).event_id != STARTED.event_id  # type: ignore[arg-type]  # names and types fit


def test_types_at_the_same_place_have_different_ids() -> None:
    facts = (
        STARTED,
        events.TaskQueued(task_id="t", occurred_at=AT, epoch=7, sequence=2, attempt=1),
        events.TaskReleased(task_id="t", occurred_at=AT, epoch=7, sequence=2, attempt=1, reason="shutdown"),
    )
    assert all(one.event_id != other.event_id for one, other in combinations(facts, 2))


def test_a_task_id_with_slashes_cannot_pose_as_another_task() -> None:
    """Foreign Avro writers are not held to the door's rules for ids."""
    inner = events.TaskQueued(task_id="t/1", occurred_at=AT, run=2, attempt=3, epoch=4, sequence=5)
    assert inner.event_id != replace(inner, task_id="t", run=1, attempt=2, epoch=3, sequence=4).event_id


def test_two_requests_to_cancel_one_run_are_one() -> None:
    first = CancelTask(task_id="t", requested_at=AT, reason="a")
    assert replace(first, requested_at=AT.replace(year=2030), reason="b").event_id == first.event_id
    assert replace(first, run=2).event_id != first.event_id


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_our_uuids_are_those_of_the_standard_library(name: str) -> None:
    assert derived_uuid(name) == str(uuid.uuid5(NAMESPACE, name))
