"""The task routes: parse, ask or append, answer."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import queries, views
from api.bodies import idempotency_key, json_body
from api.lookup import Lookup
from api.ports import ApiSettings, ReadModel, TaskRow
from api.routing import resource
from api.submissions import Submissions
from api.views import json_response
from api.waiting import Waiters
from domain.states import TaskStatus
from schemas.tracing import valid_traceparent

PATH = "/api/v1/tasks"


class TaskRoutes:
    """Handlers of everything under `/api/v1/tasks`."""

    def __init__(
        self,
        *,
        settings: ApiSettings,
        read_model: ReadModel,
        lookup: Lookup,
        submissions: Submissions,
        waiters: Waiters,
    ) -> None:
        self._settings = settings
        self._read_model = read_model
        self._lookup = lookup
        self._submissions = submissions
        self._waiters = waiters

    def routes(self) -> list[Route]:
        """The paths; see `api.openapi` for their description."""
        return [
            resource(PATH, POST=self.submit, GET=self.list),
            resource(PATH + "/{task_id}", GET=self.get, DELETE=self.cancel),
            resource(PATH + "/{task_id}/history", GET=self.history),
            resource(PATH + "/{task_id}/retry", POST=self.retry),
        ]

    async def submit(self, request: Request) -> Response:
        """202: the log holds the task."""
        key = idempotency_key(request)
        body = await json_body(request, self._settings.body_bytes_max)
        trace = valid_traceparent(request.headers.get("traceparent"))
        accepted = await self._submissions.submit(body, key, trace)
        return _accepted(accepted.row, accepted.row.state.status)

    async def list(self, request: Request) -> Response:
        """One page of the tasks that match."""
        page, page_size = queries.paging(request)
        total, rows = await self._read_model.tasks(queries.task_filter(request), page=page, page_size=page_size)
        tasks = [views.task_view(row) for row in rows]
        return json_response(views.TaskListView(total=total, page=page, page_size=page_size, tasks=tasks))

    async def get(self, request: Request) -> Response:
        """The task; with `?wait=`, held until it has ended or the time is over."""
        seconds = queries.wait_seconds(request, self._settings.wait_seconds_max)
        task_id = queries.task_id(request)
        row = await (self._ended(task_id, seconds) if seconds else self._lookup.get(task_id))
        return json_response(views.task_view(row))

    async def history(self, request: Request) -> Response:
        """Everything that happened to the task."""
        task_id = queries.task_id(request)
        row = await self._lookup.get(task_id)
        entries = await self._read_model.history(row.state.task_id)
        events = [views.history_entry_view(entry) for entry in entries]
        return json_response(views.HistoryView(task_id=task_id, events=events))

    async def cancel(self, request: Request) -> Response:
        """202: its owner has been asked; 200: it is cancelled already."""
        row = await self._submissions.cancel(queries.task_id(request))
        if row.state.status is TaskStatus.CANCELLED:
            return json_response(views.task_view(row))
        return _accepted(row, TaskStatus.CANCELLING)

    async def retry(self, request: Request) -> Response:
        """202: the task runs once more."""
        row = await self._submissions.retry(queries.task_id(request))
        return _accepted(row, row.state.status)

    async def _ended(self, task_id: str, seconds: float) -> TaskRow:
        """The task once it has ended, or as it is when the time is over."""
        deadline = asyncio.get_running_loop().time() + seconds
        async with self._waiters.watch(task_id) as ended:
            row = await self._lookup.get(task_id)
            while not row.state.terminal:
                try:
                    async with asyncio.timeout_at(deadline):
                        await ended.wait()
                except TimeoutError:
                    return await self._lookup.get(task_id)
                # A retry that the projector has not seen yet is not over, although the run before it is.
                ended.clear()
                row = await self._lookup.get(task_id)
            return row


def _accepted(row: TaskRow, status: TaskStatus | None) -> Response:
    assert status is not None, "an accepted task has a status"
    task_id = row.state.task_id
    return json_response(views.AcceptedView(task_id=task_id, status=status), 202, {"Location": f"{PATH}/{task_id}"})
