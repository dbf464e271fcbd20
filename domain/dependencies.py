"""What becomes of a task that waits for others, given how those are. Pure.

The same log gives the same answer to whoever asks: results and ends never change, so that a service that died in the
middle, or two that take turns, come to one end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from domain.errors import SubmissionTooLarge
from domain.references import UnresolvedReference, references, resolved
from domain.states import TERMINAL, TaskStatus
from domain.submission import WRITTEN_BYTES_MAX
from domain.workflow import step_of
from schemas.events import TaskSubmitted

#: A task that it depends on did not complete.
DEPENDENCY_FAILED: Final = "dependency_failed"
#: Nobody has submitted a task that it depends on.
DEPENDENCY_NOT_FOUND: Final = "dependency_not_found"
#: A result that it refers to has no such part.
UNRESOLVED_REFERENCE: Final = "unresolved_reference"
#: With what it takes from results, its payload is larger than any task's may be.
TOO_LARGE: Final = "too_large"
#: Unknown ids that a failure names.
NAMED_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class Dependency:
    """A task that others wait for, as it is now."""

    task_id: str
    status: TaskStatus
    error_code: str | None = None
    error_detail: str | None = None

    @property
    def ended(self) -> bool:
        """Nothing more comes of it, unless somebody runs it again."""
        return self.status in TERMINAL


@dataclass(frozen=True, slots=True)
class Wait:
    """Some have not ended; `on` are those, unknown ones included."""

    on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Go:
    """It may start."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It fails."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Stop:
    """It is cancelled, as what it waited for was."""

    reason: str


Verdict = Wait | Go | GiveUp | Stop


class Dependant(Protocol):
    """What is asked of a task that waits for others."""

    @property
    def depends_on(self) -> tuple[str, ...]:
        """Ids of those others."""
        ...

    @property
    def on_dependency_failure(self) -> str:
        """What becomes of it when one does not complete."""
        ...

    @property
    def workflow_id(self) -> str | None:
        """The workflow that it is a step of."""
        ...


def verdict(task: Dependant, dependencies: Mapping[str, Dependency]) -> Verdict:
    """What becomes of a task; ids that `dependencies` lacks are tasks that nobody has heard of yet."""
    known = [dependencies[each] for each in task.depends_on if each in dependencies]
    if task.on_dependency_failure != "continue":
        for each in known:
            if each.ended and each.status is not TaskStatus.COMPLETED:
                return _given_up(task, each)
    ended = {each.task_id for each in known if each.ended}
    waiting = tuple(each for each in task.depends_on if each not in ended)
    return Wait(waiting) if waiting else Go()


def not_found(unknown: Sequence[str], grace_seconds: float) -> GiveUp:
    """What becomes of a task that has waited for so long for ids which are no tasks."""
    names = ", ".join(unknown[:NAMED_MAX]) + (f" and {len(unknown) - NAMED_MAX} more" if unknown[NAMED_MAX:] else "")
    return GiveUp(DEPENDENCY_NOT_FOUND, f"it depends on what nobody submitted within {grace_seconds:g} s: {names}")


def _given_up(task: Dependant, dependency: Dependency) -> GiveUp | Stop:
    who = named(task.workflow_id, dependency.task_id)
    if dependency.status is TaskStatus.CANCELLED:
        return Stop(f"{who} was cancelled")
    if dependency.error_code == DEPENDENCY_FAILED and dependency.error_detail:
        # The step that began it, however many lie between.
        return GiveUp(DEPENDENCY_FAILED, dependency.error_detail)
    how = f"{dependency.status}, {dependency.error_code}" if dependency.error_code else str(dependency.status)
    return GiveUp(DEPENDENCY_FAILED, f"{who} did not complete ({how})")


def stopped(workflow_id: str, failed: Dependency) -> str:
    """Why the other steps of a workflow that fails fast are cancelled."""
    how = "was cancelled" if failed.status is TaskStatus.CANCELLED else "did not complete"
    return f"workflow {workflow_id} was stopped: {named(workflow_id, failed.task_id)} {how}"


def named(workflow_id: str | None, task_id: str) -> str:
    """A task in words: by its step, where it is one of the workflow's."""
    if workflow_id is not None and task_id.startswith(f"{workflow_id}:"):
        return f"step {step_of(workflow_id, task_id)} (task {task_id})"
    return f"task {task_id}"


def sources(submission: TaskSubmitted) -> Sequence[str]:
    """The tasks whose results its payload refers to."""
    if '"$' not in submission.payload:
        return ()
    found, _ = references(json.loads(submission.payload))
    return tuple(dict.fromkeys(each.source for each in found))


def with_results(submission: TaskSubmitted, results: Mapping[str, str]) -> TaskSubmitted | GiveUp:
    """The submission with the values that its payload refers to, or why it cannot be had; results are JSON texts.

    What is put together is a later word on the same task: its `sequence` is 1, and readers prefer it.
    """
    if '"$' not in submission.payload:
        return submission
    asked = json.loads(submission.payload)
    try:
        payload = resolved(asked, {each: json.loads(text) for each, text in results.items()})
    except UnresolvedReference as error:
        return GiveUp(UNRESOLVED_REFERENCE, str(error))
    if payload == asked:
        return submission
    text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False)
    size = len(text.encode(errors="replace")) + len(submission.metadata.encode())
    if size > WRITTEN_BYTES_MAX:
        return GiveUp(TOO_LARGE, str(SubmissionTooLarge(size, WRITTEN_BYTES_MAX)))
    return replace(submission, payload=text, sequence=1)
