"""What a record on a class topic says about its task beside the submission: where the facts before it have led.

A submission that is appended again - a straggler's copy, a task that was routed, work that was held by its owner -
carries the state of its task, since whoever reads it may not have read those facts. Without the header a record says
that nothing has happened to its task yet.

Whoever ends a hold that an owner wrote (`TaskHeld` with an epoch above 0) must append the submission with
`state_header(state)`, where `state` is the fold that ends with that hold. Its owner lets a record without the header
go, as the record that the hold was about, and takes one whose header is at least as new as the hold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, Final

from domain.states import TaskStatus
from domain.task import TaskState, evolve
from schemas.events import TaskSubmitted

#: Header of a record that was appended again.
STATE_HEADER: Final = "penstock-state"

#: What the record itself says, and what nobody needs while the task goes on.
_NOT_CARRIED = {"task_id", "status", "submission", "result", "error_code", "error_detail"}
#: Of its moments, those that decide how it goes on.
_MOMENTS = ("due_at", "refused_since_at", "wait_began_at", "first_held_at")
_PLAIN_FIELDS = tuple(
    field.name for field in fields(TaskState) if field.name not in _NOT_CARRIED and not field.name.endswith("_at")
)


def state_header(state: TaskState, copied_by: str | None = None) -> bytes:
    """What the facts so far add up to, as the value of STATE_HEADER.

    `copied_by` is the worker that will know its own copy again.
    """
    said: dict[str, Any] = {name: getattr(state, name) for name in _PLAIN_FIELDS}
    said |= {"status": state.status} | {name: _text(getattr(state, name)) for name in _MOMENTS}
    said |= {"copied_by": copied_by}
    return json.dumps(said, separators=(",", ":")).encode()


def state_said(headers: Mapping[str, bytes], submission: TaskSubmitted) -> TaskState:
    """The state that a record alone tells: just submitted, or as its header says."""
    state = evolve(TaskState(task_id=submission.task_id), submission)
    header = headers.get(STATE_HEADER)
    if header is None:
        return state
    said = json.loads(header)
    # A newer worker's header may say more than this version knows, and an older one's less.
    known: dict[str, Any] = {name: _frozen(said[name]) for name in _PLAIN_FIELDS if name in said}
    known |= {name: _moment(said, name) for name in _MOMENTS}
    return replace(state, status=TaskStatus(said["status"]), **known)


def copied_by(headers: Mapping[str, bytes]) -> str | None:
    """The worker that made the copy; None where it did not say so."""
    header = headers.get(STATE_HEADER)
    said: str | None = None if header is None else json.loads(header).get("copied_by")
    return said


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _moment(said: Mapping[str, Any], name: str) -> datetime | None:
    return datetime.fromisoformat(said[name]) if said.get(name) else None


def _frozen(value: object) -> object:
    """JSON has no tuples."""
    return tuple(value) if isinstance(value, list) else value
