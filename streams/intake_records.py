"""One record of tasks-intake: the tasks that it asks for, or why it asks for none. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from pydantic_core import from_json

from domain.catalogue import Catalogue
from domain.errors import Flaw, InvalidSubmission, PenstockError, SubmissionTooLarge
from domain.schedules import SOURCE as SCHEDULE
from domain.schedules import tick_of
from domain.submission import SubmissionDefaults, submitted
from domain.workflow import step_of, tasks_of, workflow_submitted
from schemas import codec
from schemas.events import TaskRejected, TaskSubmitted, derived_uuid
from schemas.tracing import valid_traceparent
from schemas.workflows import WorkflowSubmitted
from streams import topics
from streams.dead_letters import Origin

#: JSON has the same limit as at the HTTP door.
JSON_BYTES_MAX: Final = 1024 * 1024
#: Avro may be what the HTTP door has accepted, and thus as large as the log takes; the rest is for keys and headers.
AVRO_BYTES_MAX: Final = topics.RECORD_BYTES_MAX - 64 * 1024
DETAIL_CHARACTERS_MAX = 4000
_SOURCE = "intake"
#: Held work comes through here on its way from another door, which stays on record.
_SOURCES = frozenset({"http", SCHEDULE, _SOURCE})


class Unacceptable(PenstockError):
    """The record cannot become a task, nor a workflow; `code` and the text say why."""

    def __init__(self, code: str, detail: str) -> None:
        self.code, self.detail = code, detail.replace("\0", "\\0")[:DETAIL_CHARACTERS_MAX]
        super().__init__(self.detail)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads records by the task types and defaults of this installation."""

    catalogue: Catalogue
    defaults: SubmissionDefaults
    #: Resource classes that have topics here.
    classes: frozenset[str]

    def tasks(
        self, value: bytes | None, origin: Origin, *, at: datetime, traceparent: str | None
    ) -> list[TaskSubmitted]:
        """The tasks that a record asks for, several for a workflow; a repeat of the record gives the same tasks.

        Raises:
            Unacceptable: it is empty, too large, unreadable, or no valid submission.
        """
        if not value:
            raise Unacceptable("empty_record", "the record has no value")
        avro = value.startswith(codec.MARKER)
        bytes_max = AVRO_BYTES_MAX if avro else JSON_BYTES_MAX
        if len(value) > bytes_max:
            raise Unacceptable("too_large", f"the value has {len(value)} bytes, {bytes_max} are allowed")
        try:
            if avro:
                message = _message(value)
                if isinstance(message, WorkflowSubmitted):
                    return self._workflow(replace(message, **_checked(message, at)))
                return [self._from_avro(message, origin, at)]
            trace = valid_traceparent(traceparent)
            if (document := _workflow_document(value)) is not None:
                new_id = derived_id(origin)
                return self._workflow(
                    workflow_submitted(document, at=at, new_id=new_id, source=_SOURCE, traceparent=trace)
                )
            return [self._submitted(value, origin, at=at, source=_SOURCE, traceparent=trace)]
        except InvalidSubmission as error:
            raise Unacceptable("invalid_submission", str(error)) from error
        except SubmissionTooLarge as error:
            raise Unacceptable("too_large", str(error)) from error

    def _from_avro(self, sent: TaskSubmitted, origin: Origin, at: datetime) -> TaskSubmitted:
        """Checked like any other submission: an outsider's word on class, route, run or epoch counts for nothing."""
        if sent.version != (1, 0, 0) or sent.attempt or sent.attempts_before:
            raise Unacceptable(
                "invalid_submission",
                "run must be 1, and epoch, sequence, attempt and attempts_before 0, in a submission",
            )
        document = {
            "type": sent.type,
            "id": sent.task_id,
            "payload": _object(sent.payload, "/payload"),
            "priority": sent.priority,
            "tenant": sent.tenant,
            "model": sent.model,
            "timeout": sent.timeout_seconds,
            "max_retries": sent.attempts_max - 1,
            "run_at": sent.run_at,
            "metadata": _object(sent.metadata, "/metadata"),
            "callback_url": sent.callback_url,
            "deadline": sent.deadline_at,
            "estimated_time": sent.estimated_seconds,
            "depends_on": sent.depends_on,
            "on_dependency_failure": sent.on_dependency_failure,
            "route_by": sent.route_by,
            "fallbacks": sent.fallbacks,
        }
        # A deadline that has passed since the task was accepted lets it expire; it is no reason to refuse it now.
        checked = _checked(sent, at)
        task = self._submitted(document, origin, at=checked.pop("occurred_at"), **checked)
        if sent.schedule_id is not None and tick_of(sent.schedule_id, sent.task_id) is not None:
            return replace(task, schedule_id=sent.schedule_id)
        return task

    def _submitted(self, document: Any, origin: Origin, **details: Any) -> TaskSubmitted:
        task = submitted(document, self.catalogue, new_id=derived_id(origin), defaults=self.defaults, **details)
        self._check_class(task, "/type")
        return task

    def _workflow(self, workflow: WorkflowSubmitted) -> list[TaskSubmitted]:
        tasks = tasks_of(workflow, self.catalogue, self.defaults)
        for task in tasks:
            self._check_class(task, f"/steps/{step_of(workflow.workflow_id, task.task_id)}/type")
        return tasks

    def _check_class(self, task: TaskSubmitted, pointer: str) -> None:
        if task.resource_class not in self.classes:
            raise InvalidSubmission([Flaw(pointer, f"its resource class {task.resource_class!r} is not set up here")])


def rejection(value: bytes | None, origin: Origin, why: Unacceptable, *, at: datetime) -> TaskRejected:
    """The fact that answers a bad record.

    Its task id comes from the record's place alone: an id that a bad record claims may be another sender's task.
    """
    claimed = _readable(value)
    detail = why.detail
    if "id" in claimed:
        detail = f"{detail} (sent with id {claimed['id']!r})"
    return TaskRejected(
        task_id=derived_id(origin),
        occurred_at=at,
        sequence=1,
        error_code=why.code,
        error_detail=detail,
        type=claimed.get("type"),
        tenant=claimed.get("tenant"),
        origin=str(origin),
    )


def derived_id(origin: Origin) -> str:
    """The task id of a record that names none: the same place is the same task."""
    return derived_uuid(str(origin))


def _checked(sent: TaskSubmitted | WorkflowSubmitted, at: datetime) -> dict[str, Any]:
    """What a record may say of itself, as far as it is to be believed."""
    return {
        "occurred_at": min(sent.occurred_at, at),
        "source": sent.source if sent.source in _SOURCES else _SOURCE,
        "traceparent": valid_traceparent(sent.traceparent),
    }


def _message(value: bytes) -> TaskSubmitted | WorkflowSubmitted:
    try:
        return codec.decode_submission(value)
    except codec.UndecodableRecord as error:
        raise Unacceptable("undecodable_record", str(error)) from error


def _workflow_document(value: bytes) -> dict[str, Any] | None:
    """The record as a workflow; None where it is a single submission, or nothing that can be read."""
    if b'"steps"' not in value:
        return None
    try:
        document = from_json(value)
    except ValueError:
        return None
    return document if isinstance(document, dict) and "steps" in document and "type" not in document else None


def _object(text: str, pointer: str) -> dict[str, Any]:
    try:
        value = from_json(text)
    except ValueError as error:
        raise InvalidSubmission([Flaw(pointer, f"is not JSON text: {error}")]) from error
    if not isinstance(value, dict):
        raise InvalidSubmission([Flaw(pointer, "must be a JSON object")])
    return value


def _readable(value: bytes | None) -> dict[str, str]:
    """What of type, tenant and id can be told of a record that is wrong otherwise."""
    if not value or len(value) > JSON_BYTES_MAX or value.startswith(codec.MARKER):
        return {}
    try:
        document = from_json(value)
    except ValueError:
        return {}
    if not isinstance(document, dict):
        return {}
    found = {name: document.get(name) for name in ("type", "tenant", "id")}
    return {name: text[:200] for name, text in found.items() if isinstance(text, str) and text.isprintable()}
