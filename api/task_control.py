"""What operators ask of tasks that wait: another priority, or the end of many at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import queries, views
from api.bodies import json_body
from api.control_bodies import CancelBody, PriorityBody, parsed
from api.control_views import CancelledView
from api.lookup import Lookup
from api.ports import ApiSettings, Log, ReadModel
from api.problems import invalid
from api.routing import resource
from api.views import json_response
from domain.errors import Flaw, IllegalTransition
from domain.states import WAITING, TaskStatus
from projections.selection import Selection
from projections.tasks import statuses_of
from schemas.commands import CancelTask, ChangePriority

PATH = "/api/v1/tasks"
#: Commands that are on their way to the log at a time.
COMMANDS_AT_ONCE = 100


class TaskControl:
    """Handlers beside those of `api.tasks`."""

    def __init__(self, settings: ApiSettings, log: Log, read_model: ReadModel, lookup: Lookup) -> None:
        self._settings = settings
        self._log = log
        self._read_model = read_model
        self._lookup = lookup

    def routes(self) -> list[Route]:
        """The paths; see `api.openapi_control` for their description."""
        return [
            resource(PATH + "/cancel", POST=self.cancel),
            resource(PATH + "/{task_id}/priority", PUT=self.change_priority),
        ]

    async def change_priority(self, request: Request) -> Response:
        """202: its owner has been asked; 200: it has that priority already."""
        task_id = queries.task_id(request)
        body = parsed(PriorityBody, await json_body(request, self._settings.body_bytes_max))
        row = await self._lookup.get(task_id)
        state = row.state
        if state.status not in WAITING:
            hint = "only a task that waits can have another priority"
            raise IllegalTransition(task_id, "change its priority", str(state.status), hint)
        if state.priority == body.priority:
            return json_response(views.task_view(row))
        command = ChangePriority(
            task_id=task_id,
            requested_at=datetime.now(UTC),
            priority=body.priority,
            run=max(state.run, 1),
            reason=body.reason,
        )
        await self._log.command(command)
        accepted = views.AcceptedView(task_id=task_id, status=state.status or TaskStatus.SUBMITTED)
        return json_response(accepted, 202, {"Location": f"{PATH}/{task_id}"})

    async def cancel(self, request: Request) -> Response:
        """Ask for the end of the next tasks that match; repeating a request asks the same tasks again, without harm."""
        body = parsed(CancelBody, await json_body(request, self._settings.body_bytes_max))
        wanted = _selection(body, datetime.now(UTC))
        if body.dry_run:
            matched = await self._read_model.selected(wanted)
            return json_response(CancelledView(matched=matched, asked=0, dry_run=True, next=None))
        found = await self._read_model.selection(wanted, after=body.after, limit=body.limit)
        at = datetime.now(UTC)
        commands = [
            CancelTask(task_id=each.task_id, requested_at=at, run=each.run, reason=body.reason)
            for each in found
            if each.status is not TaskStatus.CANCELLING
        ]
        for start in range(0, len(commands), COMMANDS_AT_ONCE):
            await asyncio.gather(*map(self._log.command, commands[start : start + COMMANDS_AT_ONCE]))
        # A full page may not be the last one.
        following = found[-1].task_id if len(found) == body.limit else None
        return json_response(CancelledView(matched=len(found), asked=len(commands), dry_run=False, next=following))


def _selection(body: CancelBody, now: datetime) -> Selection:
    if body.status is not None and body.status not in queries.STATUSES:
        raise invalid(Flaw("/status", f"is none of {', '.join(queries.STATUSES)}"))
    return Selection(
        statuses=None if body.status is None else statuses_of(body.status),
        type=body.type,
        tenant=body.tenant,
        model=body.model,
        priority=body.priority,
        created_before=None if body.older_than is None else now - timedelta(seconds=body.older_than),
    )
