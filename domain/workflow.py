"""From a workflow as its sender wrote it to the tasks that it consists of. Pure.

The task of step `a` in workflow `w` is `w:a`, so that whoever makes the tasks, however often, makes the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import from_json

from domain.catalogue import Catalogue
from domain.errors import Flaw, InvalidSubmission, SubmissionTooLarge
from domain.references import Reference, references, renamed, resolved
from domain.states import TERMINAL, WAITING, TaskStatus
from domain.submission import WRITTEN_BYTES_MAX, SubmissionDefaults, derived_id, flaws_of, submitted
from schemas.events import TaskSubmitted
from schemas.submission import Step, Workflow
from schemas.workflows import WorkflowSubmitted

#: A workflow's tasks carry it as `on_dependency_failure`: any step that does not complete stops all others.
FAIL_FAST: Final = "fail_fast"
#: Most steps of a cycle that an error names.
_CYCLE_SHOWN_MAX: Final = 20


class WorkflowStatus(StrEnum):
    """What the states of its steps add up to."""

    #: No step has started.
    PENDING = "pending"
    RUNNING = "running"
    #: Every step completed.
    COMPLETED = "completed"
    #: All have ended, and one failed.
    FAILED = "failed"
    #: All have ended, none failed, and one was cancelled.
    CANCELLED = "cancelled"


def status_of(steps: Iterable[TaskStatus]) -> WorkflowStatus:
    """The status of a workflow with such steps."""
    found = frozenset(steps)
    if found <= WAITING:
        return WorkflowStatus.PENDING
    if not found <= TERMINAL:
        return WorkflowStatus.RUNNING
    if found == {TaskStatus.COMPLETED}:
        return WorkflowStatus.COMPLETED
    return WorkflowStatus.CANCELLED if found <= {TaskStatus.COMPLETED, TaskStatus.CANCELLED} else WorkflowStatus.FAILED


def step_id(workflow_id: str, step: str) -> str:
    """Id of a step's task."""
    return f"{workflow_id}:{step}"


def step_of(workflow_id: str, task_id: str) -> str:
    """Name of the step whose task it is."""
    return task_id.removeprefix(f"{workflow_id}:")


def workflow_submitted(
    document: Mapping[str, Any] | bytes | str,
    *,
    at: datetime,
    new_id: str,
    source: str,
    idempotency_key: str | None = None,
    traceparent: str | None = None,
) -> WorkflowSubmitted:
    """The fact that accepts a workflow, its shape checked; `tasks_of` checks the steps.

    The workflow id is the sender's `id`, else derived from tenant and idempotency key, else `new_id`.

    Raises:
        InvalidSubmission: it does not fit the shape.
        SubmissionTooLarge: its steps are larger than WRITTEN_BYTES_MAX.
    """
    try:
        raw = from_json(document) if isinstance(document, bytes | str) else document
        workflow = Workflow.model_validate(raw)
    except ValidationError as error:
        raise InvalidSubmission(flaws_of(error)) from error
    except ValueError as error:
        raise InvalidSubmission([Flaw("", f"is not JSON: {error}")]) from error
    return WorkflowSubmitted(
        workflow_id=workflow.id or derived_id(f"workflow\n{workflow.tenant}", idempotency_key) or new_id,
        occurred_at=at,
        tenant=workflow.tenant,
        on_failure=workflow.on_failure,
        steps=_written(raw["steps"]),
        source=source,
        traceparent=traceparent,
    )


def tasks_of(workflow: WorkflowSubmitted, catalogue: Catalogue, defaults: SubmissionDefaults) -> list[TaskSubmitted]:
    """The tasks of a workflow, those that others depend on before these. The same workflow gives the same tasks.

    Raises:
        InvalidSubmission: a step is no valid submission, names a step that is not there, or waits for itself.
        SubmissionTooLarge: the payload of one is.
    """
    steps: dict[str, dict[str, Any]] = json.loads(workflow.steps)
    try:
        shape = Workflow.model_validate({"id": workflow.workflow_id, "tenant": workflow.tenant, "steps": steps})
    except ValidationError as error:
        raise InvalidSubmission(flaws_of(error)) from error
    found = {name: references(raw.get("payload", {})) for name, raw in steps.items()}
    depends_on = {name: _dependencies(shape.steps[name], found[name][0]) for name in steps}
    flaws = [
        *(Flaw(f"/steps/{name}/payload{flaw.pointer}", flaw.detail) for name in steps for flaw in found[name][1]),
        *_unknown(shape, found),
    ]
    if flaws:
        raise InvalidSubmission(flaws)
    order = _in_order(depends_on)
    tasks, flaws = [], []
    for name in order:
        try:
            tasks.append(_task(workflow, name, steps[name], depends_on[name], catalogue, defaults))
        except InvalidSubmission as error:
            flaws += [Flaw(f"/steps/{name}{flaw.pointer}", flaw.detail) for flaw in error.flaws]
    if flaws:
        raise InvalidSubmission(flaws)
    return tasks


def _task(
    workflow: WorkflowSubmitted,
    name: str,
    raw: Mapping[str, Any],
    depends_on: Iterable[str],
    catalogue: Catalogue,
    defaults: SubmissionDefaults,
) -> TaskSubmitted:
    payload, sources = raw.get("payload", {}), tuple(depends_on)
    document = {
        **raw,
        "id": step_id(workflow.workflow_id, name),
        "tenant": workflow.tenant,
        "depends_on": [step_id(workflow.workflow_id, each) for each in sources],
        # A step without dependencies is an ordinary task, whose payload nobody resolves later.
        "payload": renamed(payload, lambda each: step_id(workflow.workflow_id, each))
        if sources
        else resolved(payload, {}),
    }
    task = submitted(
        document,
        catalogue,
        at=workflow.occurred_at,
        new_id="",
        defaults=defaults,
        source=workflow.source,
        traceparent=workflow.traceparent,
    )
    on_failure = FAIL_FAST if workflow.on_failure == FAIL_FAST else "fail"
    return replace(task, workflow_id=workflow.workflow_id, on_dependency_failure=on_failure)


def _dependencies(step: Step, found: Iterable[Reference]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*step.depends_on, *(each.source for each in found)]))


def _unknown(shape: Workflow, found: Mapping[str, tuple[list[Reference], list[Flaw]]]) -> Iterable[Flaw]:
    for name, step in shape.steps.items():
        for index, other in enumerate(step.depends_on):
            if other not in shape.steps:
                yield Flaw(f"/steps/{name}/depends_on/{index}", f"there is no step {other!r}")
        for reference in found[name][0]:
            if reference.source not in shape.steps:
                yield Flaw(f"/steps/{name}/payload{reference.place}", f"there is no step {reference.source!r}")


def _in_order(depends_on: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The steps, each behind those that it depends on.

    Raises:
        InvalidSubmission: some wait for one another in a circle.
    """
    waits_for = {name: set(others) for name, others in depends_on.items()}
    dependants: dict[str, list[str]] = {name: [] for name in depends_on}
    for name, others in waits_for.items():
        for other in others:
            dependants[other].append(name)
    order = [name for name, others in waits_for.items() if not others]
    for name in order:
        for dependant in dependants[name]:
            waits_for[dependant].discard(name)
            if not waits_for[dependant]:
                order.append(dependant)
    if len(order) < len(depends_on):
        circle = _circle({name: others for name, others in waits_for.items() if others})
        raise InvalidSubmission([Flaw(f"/steps/{circle[0]}", f"waits for itself: {_shown(circle)}")])
    return order


def _circle(waits_for: Mapping[str, set[str]]) -> list[str]:
    """Steps of a circle, the first one again at the end; each given step waits for another one of them."""
    path: list[str] = []
    name = min(waits_for)
    while name not in path:
        path.append(name)
        name = min(waits_for[name])
    return [*path[path.index(name) :], name]


def _shown(circle: list[str]) -> str:
    names = circle if len(circle) <= _CYCLE_SHOWN_MAX else [*circle[: _CYCLE_SHOWN_MAX - 1], "...", circle[-1]]
    return " waits for ".join(names)


def _written(steps: object) -> str:
    try:
        text = json.dumps(steps, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except ValueError as error:
        raise InvalidSubmission([Flaw("/steps", "must be JSON in Unicode, without NaN or Infinity")]) from error
    if size > WRITTEN_BYTES_MAX:
        raise SubmissionTooLarge(size, WRITTEN_BYTES_MAX)
    return text
