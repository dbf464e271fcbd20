"""Every error that the API answers, in one place: problem details with a stable type.

Source: RFC 9457; the `errors` member with JSON pointers follows its section 3, example 2.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from domain.errors import Flaw, IllegalTransition, InvalidSubmission, SubmissionTooLarge
from streams.log import LogUnavailable, RecordTooLarge
from streams.ports import ReadModelUnavailable

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:penstock:problem:"
#: What a caller waits before it asks again after an outage.
OUTAGE_RETRY_SECONDS = 2
FULL_RETRY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: the last part of its type URI, its status and its title never change."""

    name: str
    status: int
    title: str

    @property
    def type(self) -> str:
        """The URI that programs compare."""
        return TYPE_PREFIX + self.name


INVALID = Kind("invalid-request", 422, "The request does not fit what is expected")
KEY_REUSED = Kind("idempotency-key-reused", 422, "The idempotency key was used for another request")
BAD_KEY = Kind("bad-idempotency-key", 400, "The idempotency key cannot be used")
NOT_FOUND = Kind("not-found", 404, "There is nothing here")
TASK_NOT_FOUND = Kind("task-not-found", 404, "There is no such task")
MODEL_NOT_FOUND = Kind("model-not-found", 404, "There is no such model")
WORKFLOW_NOT_FOUND = Kind("workflow-not-found", 404, "There is no such workflow")
SCHEDULE_NOT_FOUND = Kind("schedule-not-found", 404, "There is no such schedule")
SCHEDULE_TAKEN = Kind("schedule-id-taken", 409, "Another schedule has this id")
METHOD_NOT_ALLOWED = Kind("method-not-allowed", 405, "The method is not allowed here")
ID_TAKEN = Kind("task-id-taken", 409, "Another task has this id")
MODEL_TAKEN = Kind("model-name-taken", 409, "Another model has this name")
PROVIDER_IN_USE = Kind("provider-in-use", 409, "Models are served by this provider")
STATE_FORBIDS = Kind("state-forbids", 409, "The state of the task forbids this")
TOO_LARGE = Kind("body-too-large", 413, "The request body is too large")
UNSUPPORTED = Kind("unsupported-media-type", 415, "The request body is not JSON")
QUEUE_FULL = Kind("queue-full", 429, "The queue of this resource class is full")
INTERNAL = Kind("internal-error", 500, "Something is wrong on our side")
LOG_UNAVAILABLE = Kind("log-unavailable", 503, "The log does not acknowledge")
READ_MODEL_UNAVAILABLE = Kind("read-model-unavailable", 503, "The read model cannot be asked")
NOT_READY = Kind("not-ready", 503, "Tasks cannot run right now")
OTHER = Kind("http-error", 0, "The request cannot be answered")

KINDS = (
    *(INVALID, KEY_REUSED, BAD_KEY, NOT_FOUND, TASK_NOT_FOUND, METHOD_NOT_ALLOWED, ID_TAKEN, STATE_FORBIDS, TOO_LARGE),
    *(MODEL_NOT_FOUND, MODEL_TAKEN, PROVIDER_IN_USE, WORKFLOW_NOT_FOUND, SCHEDULE_NOT_FOUND, SCHEDULE_TAKEN),
    *(UNSUPPORTED, QUEUE_FULL, INTERNAL, LOG_UNAVAILABLE, READ_MODEL_UNAVAILABLE, NOT_READY),
)


class Problem(Exception):
    """Raised by a handler: answer with this problem."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        retry_after_seconds: int | None = None,
        flaws: Sequence[Flaw] = (),
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.members = kind, detail, members
        self.headers = {} if retry_after_seconds is None else {"Retry-After": str(retry_after_seconds)}
        if flaws:
            self.members = {"errors": [{"pointer": flaw.pointer, "detail": flaw.detail} for flaw in flaws]} | members


def invalid(*flaws: Flaw) -> Problem:
    """422 with everything that is to be mended."""
    return Problem(INVALID, "; ".join(map(str, flaws)), flaws=flaws)


def response(problem: Problem, *, status: int | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """The problem on the wire."""
    kind = problem.kind
    code = status or kind.status
    body = {"type": kind.type, "title": kind.title, "status": code, "detail": problem.detail, **problem.members}
    return JSONResponse(body, code, {**problem.headers, **(headers or {})}, MEDIA_TYPE)


def translated(error: Exception) -> Problem:
    """What an error of the layers below means to a caller."""
    match error:
        case Problem():
            return error
        case InvalidSubmission(flaws=flaws):
            return invalid(*flaws)
        case IllegalTransition():
            return Problem(STATE_FORBIDS, str(error), task_id=error.task_id, task_status=error.status)
        case LogUnavailable():
            return Problem(LOG_UNAVAILABLE, str(error), retry_after_seconds=OUTAGE_RETRY_SECONDS)
        case ReadModelUnavailable():
            return Problem(READ_MODEL_UNAVAILABLE, str(error), retry_after_seconds=OUTAGE_RETRY_SECONDS)
        case SubmissionTooLarge():
            return Problem(TOO_LARGE, str(error), bytes_max=error.bytes_max)
        case RecordTooLarge():
            return Problem(TOO_LARGE, str(error))
        case _:
            logger.error("unhandled %s", type(error).__name__, exc_info=error)
            return Problem(INTERNAL, "The request could not be answered; its X-Request-ID finds the cause in the log.")


async def on_error(_: Request, error: Exception) -> Response:
    """For every error that callers are told about, but HTTPException."""
    return response(translated(error))


async def on_http_exception(request: Request, error: Exception) -> Response:
    """For what the router itself refuses."""
    assert isinstance(error, HTTPException), "registered for HTTPException only"
    match error.status_code:
        case 404:
            problem = Problem(NOT_FOUND, f"nothing is served at {request.url.path}")
        case 405:
            problem = Problem(METHOD_NOT_ALLOWED, f"{request.method} is not allowed at {request.url.path}")
        case _:
            problem = Problem(OTHER, error.detail)
    return response(problem, status=error.status_code, headers=error.headers)


#: For Starlette; what is not listed is answered by `api.request_log`.
HANDLERS: Mapping[Any, Any] = {
    HTTPException: on_http_exception,
    **dict.fromkeys((Problem, InvalidSubmission, SubmissionTooLarge, IllegalTransition), on_error),
    **dict.fromkeys((LogUnavailable, ReadModelUnavailable, RecordTooLarge), on_error),
}
