"""From what a sender wrote to the fact that accepts it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from domain.catalogue import Catalogue, TaskType
from domain.errors import Flaw, InvalidSubmission, SubmissionTooLarge, UnknownTaskType
from domain.models import DeclaredModels
from domain.references import concerns, references
from schemas.events import TaskSubmitted, derived_uuid
from schemas.models import ModelDefinition
from schemas.submission import Submission, Work

#: Payload and metadata as UTF-8. More than a door's 1 MiB, since JSON grows when it is written anew: 1e15 becomes
#: 1000000000000000.0. One bound for all doors: what one of them has accepted, every later reader must accept.
WRITTEN_BYTES_MAX: Final = 1536 * 1024
#: A URL grows too: each letter outside ASCII becomes six characters or more. Source: the limit of pydantic's HttpUrl.
URL_CHARACTERS_MAX: Final = 2083


@dataclass(frozen=True, slots=True)
class SubmissionDefaults:
    """What a submission that leaves a field out gets."""

    timeout_seconds: float = 300.0
    max_retries: int = 3
    #: The models that are defined at the moment.
    models: Callable[[], DeclaredModels] = DeclaredModels

    def following(self, models: Callable[[], Mapping[str, ModelDefinition]]) -> SubmissionDefaults:
        """The same, for the models that a running system has at each moment."""
        return replace(self, models=lambda: replace(self.models(), models=models()))


def submitted(
    document: Mapping[str, Any] | bytes | str,
    catalogue: Catalogue,
    *,
    at: datetime,
    new_id: str,
    defaults: SubmissionDefaults,
    source: str,
    idempotency_key: str | None = None,
    traceparent: str | None = None,
) -> TaskSubmitted:
    """The fact that accepts a submission, given as a parsed object or as JSON text.

    The task id is the sender's `id`, else derived from tenant and idempotency key, else `new_id`.

    Raises:
        InvalidSubmission: it does not fit the shape, its type or its model is unknown, or its payload does not fit
            the type.
        SubmissionTooLarge: payload and metadata are larger than WRITTEN_BYTES_MAX.
    """
    submission = _parse(document)
    task_type = _task_type(submission, catalogue)
    payload = _payload(submission, task_type, submission.depends_on)
    metadata = _json_text(submission.metadata, "/metadata")
    _check_size(payload, metadata)
    task_id = submission.id or derived_id(submission.tenant, idempotency_key) or new_id
    timeout = submission.timeout if submission.timeout is not None else defaults.timeout_seconds
    retries = submission.max_retries if submission.max_retries is not None else defaults.max_retries
    run_at, deadline_at = _times(submission, at)
    model, routing_key = submission.model, task_id
    if task_type.routed_by_model:
        models = defaults.models()
        model, routing_key = models.target(submission.model, task_type.resource_class)
        models.check_fallbacks(submission.fallbacks, task_type.resource_class)
    if task_id in submission.depends_on:
        raise InvalidSubmission([Flaw("/depends_on", "a task cannot depend on itself")])
    return TaskSubmitted(
        task_id=task_id,
        occurred_at=at,
        type=task_type.name,
        resource_class=task_type.resource_class,
        routing_key=routing_key,
        tenant=submission.tenant,
        priority=submission.priority,
        payload=payload,
        model=model,
        timeout_seconds=timeout,
        attempts_max=retries + 1,
        run_at=run_at,
        metadata=metadata,
        callback_url=_callback_url(submission),
        source=source,
        traceparent=traceparent,
        deadline_at=deadline_at,
        estimated_seconds=submission.estimated_time,
        depends_on=tuple(dict.fromkeys(submission.depends_on)),
        on_dependency_failure=submission.on_dependency_failure,
        route_by=submission.route_by,
        fallbacks=submission.fallbacks,
    )


def derived_id(tenant: str, idempotency_key: str | None) -> str | None:
    """The id that a tenant's idempotency key stands for: the same key is the same task."""
    if not idempotency_key:
        return None
    return derived_uuid(f"{tenant}\n{idempotency_key}")


def _parse(document: Mapping[str, Any] | bytes | str) -> Submission:
    try:
        if isinstance(document, bytes | str):
            return Submission.model_validate_json(document)
        return Submission.model_validate(document)
    except ValidationError as error:
        raise InvalidSubmission(flaws_of(error)) from error


def _task_type(submission: Submission, catalogue: Catalogue) -> TaskType:
    try:
        return catalogue[submission.type]
    except UnknownTaskType as error:
        raise InvalidSubmission([Flaw("/type", str(error))]) from error


def _times(submission: Work, at: datetime) -> tuple[datetime | None, datetime | None]:
    """The moment before which a task must not run, where that lies ahead, and its deadline."""
    try:
        run_at = at + timedelta(seconds=submission.delay) if submission.delay is not None else submission.run_at
        deadline = submission.deadline
        deadline_at = at + timedelta(seconds=deadline) if isinstance(deadline, float) else deadline
    except OverflowError as error:
        raise InvalidSubmission([Flaw("", "its times lie beyond the year 9999")]) from error
    if deadline_at is not None and deadline_at <= at:
        raise InvalidSubmission([Flaw("/deadline", "lies in the past")])
    if deadline_at is not None and run_at is not None and deadline_at <= run_at:
        raise InvalidSubmission([Flaw("/deadline", "must lie after the moment before which the task must not run")])
    return run_at if run_at is not None and run_at > at else None, deadline_at


def _payload(submission: Work, task_type: TaskType, sources: Collection[str]) -> str:
    """The sender's own payload, checked but not rewritten: handlers parse it again with the same model."""
    # Without dependencies there is nothing to refer to, and what looks like a reference is a value like any other.
    found, flaws = references(submission.payload) if sources else ([], [])
    flaws += [Flaw(each.place, f"{each.source} is not in depends_on") for each in found if each.source not in sources]
    flaws = [Flaw(f"/payload{flaw.pointer}", flaw.detail) for flaw in flaws]
    try:
        task_type.payload.model_validate(submission.payload)
    except ValidationError as error:
        flaws += flaws_of(error, "/payload", unless=lambda loc: any(concerns(each, loc) for each in found))
    if flaws:
        raise InvalidSubmission(flaws)
    return _json_text(submission.payload, "/payload")


def _check_size(*texts: str) -> None:
    size = sum(len(text.encode()) for text in texts)
    if size > WRITTEN_BYTES_MAX:
        raise SubmissionTooLarge(size, WRITTEN_BYTES_MAX)


def _callback_url(submission: Submission) -> str | None:
    if submission.callback_url is None:
        return None
    text = str(submission.callback_url)
    if len(text) > URL_CHARACTERS_MAX:
        detail = f"has {len(text)} characters in ASCII, {URL_CHARACTERS_MAX} are allowed"
        raise InvalidSubmission([Flaw("/callback_url", detail)])
    return text


def _json_text(value: Mapping[str, Any], pointer: str) -> str:
    try:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        text.encode()
        return text
    except UnicodeEncodeError as error:
        raise InvalidSubmission([Flaw(pointer, "text must be Unicode: half a surrogate pair is not")]) from error
    except ValueError as error:
        raise InvalidSubmission([Flaw(pointer, "numbers must be finite: NaN and Infinity are not JSON")]) from error


def flaws_of(
    error: ValidationError, under: str = "", unless: Callable[[tuple[int | str, ...]], bool] = lambda _: False
) -> list[Flaw]:
    """Pydantic's findings with JSON pointers (RFC 6901); values are left out, since they may be secret."""
    return [
        Flaw(under + "".join(f"/{_escaped(part)}" for part in finding["loc"]), finding["msg"])
        for finding in error.errors(include_url=False, include_input=False, include_context=False)
        if not unless(finding["loc"])
    ]


def _escaped(part: int | str) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")
