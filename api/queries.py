"""Query strings and path segments, checked: what does not fit is a flaw, never a surprise further down."""

from __future__ import annotations

import math
import re

from starlette.requests import Request

from api.ports import TaskFilter
from api.problems import TASK_NOT_FOUND, Problem, invalid
from domain.errors import Flaw
from domain.states import TaskStatus
from projections.tasks import PENDING, statuses_of
from schemas.submission import TASK_ID_PATTERN

PAGE_SIZE_MAX = 100
PAGE_SIZE = 20
#: Beyond it, a page would cost more to find than anyone will read.
PAGE_MAX = 1_000_000
NAME_CHARACTERS_MAX = 200
STATUSES = (PENDING, *map(str, TaskStatus))
_TASK_ID = re.compile(TASK_ID_PATTERN)


def task_id(request: Request) -> str:
    """The task id of the path.

    Raises:
        Problem: 404, no task can have that id.
    """
    value: str = request.path_params["task_id"]
    if not _TASK_ID.fullmatch(value):
        raise Problem(TASK_NOT_FOUND, "there is no such task: no task has an id of that form")
    return value


def paging(request: Request) -> tuple[int, int]:
    """Page, counted from 1, and page size.

    Raises:
        Problem: 422, one of them is no number or out of range.
    """
    return _whole(request, "page", 1, PAGE_MAX), _whole(request, "page_size", PAGE_SIZE, PAGE_SIZE_MAX)


def task_filter(request: Request) -> TaskFilter:
    """Which tasks are wanted.

    Raises:
        Problem: 422, a filter that no task can match.
    """
    status = request.query_params.get("status")
    if status is not None and status not in STATUSES:
        raise invalid(Flaw("?status", f"is none of {', '.join(STATUSES)}"))
    return TaskFilter(
        statuses=None if status is None else statuses_of(status),
        type=_name(request, "type"),
        tenant=_name(request, "tenant"),
    )


def wait_seconds(request: Request, seconds_max: float) -> float:
    """How long the caller wants to wait for the task's end; 0 means not at all.

    Raises:
        Problem: 422, no number of seconds in range.
    """
    text = request.query_params.get("wait", "0")
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= seconds_max:
        raise invalid(Flaw("?wait", f"must be a number of seconds from 0 to {seconds_max:g}"))
    return seconds


def _whole(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= most):
        raise invalid(Flaw(f"?{name}", f"must be a whole number from 1 to {most}"))
    return int(text)


def _name(request: Request, name: str) -> str | None:
    value = request.query_params.get(name)
    if value is not None and not (0 < len(value) <= NAME_CHARACTERS_MAX and value.isprintable()):
        raise invalid(Flaw(f"?{name}", f"must have 1 to {NAME_CHARACTERS_MAX} printable characters"))
    return value
