"""Workflows: their tasks, and everything that can be wrong with one, said with its place."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidSubmission, SubmissionTooLarge
from domain.submission import SubmissionDefaults
from domain.workflow import step_of, tasks_of, workflow_submitted
from schemas.codec import decode_submission, encode
from schemas.events import TaskSubmitted
from schemas.workflows import WorkflowSubmitted
from tests.support.memory_world import CATALOGUE

AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def accepted(document: Any, **details: Any) -> WorkflowSubmitted:
    fact = workflow_submitted(document, at=AT, new_id="new", source="http", **details)
    assert decode_submission(encode(fact)) == fact
    return fact


def tasks(document: Any) -> dict[str, TaskSubmitted]:
    workflow = accepted(document)
    made = tasks_of(workflow, CATALOGUE, SubmissionDefaults())
    assert made == tasks_of(workflow, CATALOGUE, SubmissionDefaults())
    return {step_of(workflow.workflow_id, task.task_id): task for task in made}


def flaws(steps: Any, **more: Any) -> dict[str, str]:
    with pytest.raises(InvalidSubmission) as raised:
        tasks({"steps": steps} | more)
    return {flaw.pointer: flaw.detail for flaw in raised.value.flaws}


def echo(*depends_on: str, **payload: Any) -> dict[str, Any]:
    return {"type": "echo", "payload": {"text": "x"} | payload, "depends_on": list(depends_on)}


def test_each_step_is_a_task_with_the_workflow_s_name_and_policy() -> None:
    made = tasks({"id": "film", "tenant": "acme", "steps": {"b": echo("a") | {"delay": "1h"}, "a": echo()}})
    assert list(made) == ["a", "b"]
    a, b = made["a"], made["b"]
    assert (a.task_id, a.depends_on, b.task_id, b.depends_on) == ("film:a", (), "film:b", ("film:a",))
    assert {task.workflow_id for task in made.values()} == {"film"}
    assert {task.tenant for task in made.values()} == {"acme"}
    assert {task.on_dependency_failure for task in made.values()} == {"fail_fast"}
    assert (a.occurred_at, b.run_at) == (AT, AT + timedelta(hours=1))
    (only,) = tasks({"on_failure": "continue", "steps": {"a": echo()}}).values()
    assert (only.on_dependency_failure, only.workflow_id) == ("fail", "new")


def test_a_reference_is_a_dependency_and_names_the_task() -> None:
    made = tasks({"id": "w", "steps": {"a": echo(), "b": echo(text={"$from": "a#/text"})}})
    assert made["b"].depends_on == ("w:a",)
    assert json.loads(made["b"].payload) == {"text": {"$from": "w:a#/text"}}


def test_literals_of_steps_without_dependencies_are_unwrapped_at_once() -> None:
    made = tasks({"steps": {"a": echo(more={"$literal": {"$from": "b"}})}})
    assert json.loads(made["a"].payload)["more"] == {"$from": "b"}


def test_a_key_stands_for_one_workflow_of_a_tenant() -> None:
    document = {"steps": {"a": echo()}}
    ids = [accepted(document, idempotency_key=key).workflow_id for key in ("k", "k", "l")]
    assert ids[0] == ids[1] != ids[2]
    assert accepted(document | {"tenant": "other"}, idempotency_key="k").workflow_id != ids[0]


@pytest.mark.parametrize(
    ("steps", "pointer", "detail"),
    [
        ({}, "/steps", "at least 1"),
        ({"a": echo("b")}, "/steps/a/depends_on/0", "no step 'b'"),
        ({"a": echo(text={"$from": "b"})}, "/steps/a/payload/text", "no step 'b'"),
        ({"a": echo(text={"$from": 1})}, "/steps/a/payload/text", "must be a text"),
        ({"a": echo("a")}, "/steps/a", "a waits for a"),
        ({"a": echo("c"), "b": echo("a"), "c": echo("b"), "d": echo("c")}, "/steps/a", "a waits for c waits for b"),
        ({"a": echo() | {"type": "nothing"}}, "/steps/a/type", "unknown task type"),
        ({"a": {"type": "echo"}}, "/steps/a/payload/text", "required"),
        ({"a": echo() | {"id": "mine"}}, "/steps/a/id", "not permitted"),
        ({"a": echo() | {"on_dependency_failure": "continue"}}, "/steps/a/on_dependency_failure", "not permitted"),
        ({"a": echo() | {"deadline": "2020-01-01T00:00:00Z"}}, "/steps/a/deadline", "past"),
        ({f"s{number}": echo() for number in range(1001)}, "/steps", "at most 1000"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(steps: Any, pointer: str, detail: str) -> None:
    found = flaws(steps)
    assert detail in found[pointer]


@pytest.mark.parametrize("name", ["", "a:b", "a/b", "a#b", "x" * 100])
def test_a_name_that_no_step_can_have_is_refused(name: str) -> None:
    assert any(pointer.startswith("/steps") for pointer in flaws({name: echo()}))


def test_several_flaws_are_said_together() -> None:
    assert set(flaws({"a": {"type": "echo"}, "b": echo() | {"type": "nothing"}})) == {
        "/steps/a/payload/text",
        "/steps/b/type",
    }


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"steps":{"a":{"type":"echo","payload":{"text":NaN}}}}', b"[" * 9999]
)
def test_what_is_no_workflow_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidSubmission):
        accepted(body)


def test_a_workflow_has_a_size() -> None:
    with pytest.raises(SubmissionTooLarge):
        accepted({"steps": {f"s{number}": echo(text="x" * 1_000_000) for number in range(2)}})


@given(st.integers(1, 12).flatmap(lambda count: st.lists(st.sets(st.integers(0, 30)), min_size=count, max_size=count)))
def test_steps_without_a_circle_come_behind_what_they_depend_on(edges: list[set[int]]) -> None:
    steps = {
        f"s{index}": echo(*(f"s{each % index}" for each in sorted(sources) if index))
        for index, sources in enumerate(edges)
    }
    made = list(tasks({"id": "w", "steps": dict(reversed(steps.items()))}).values())
    seen: set[str] = set()
    for task in made:
        assert set(task.depends_on) <= seen
        seen.add(task.task_id)
    assert len(seen) == len(steps)
