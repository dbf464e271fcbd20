"""The workflow routes: several tasks accepted by one record, read together and cancelled together."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import queries
from api.bodies import idempotency_key, json_body
from api.lookup import Lookup
from api.ports import ApiSettings, Log, ReadModel, TaskRow
from api.problems import ID_TAKEN, OUTAGE_RETRY_SECONDS, READ_MODEL_UNAVAILABLE, WORKFLOW_NOT_FOUND, Problem, invalid
from api.queues import Queues
from api.recent import RecentTasks
from api.routing import resource
from api.submissions import differences
from api.views import json_response
from api.watermark import Watermark
from api.workflow_views import workflow_view
from domain.catalogue import Catalogue
from domain.errors import Flaw
from domain.states import TERMINAL
from domain.workflow import step_of, tasks_of, workflow_submitted
from projections.workflows import StepRow
from schemas.commands import CancelTask
from schemas.events import TaskSubmitted
from schemas.submission import LABEL_PATTERN
from schemas.tracing import valid_traceparent

PATH = "/api/v1/workflows"
#: Workflows whose tasks this process remembers to have accepted, until the projector shows them.
RECENT_MAX = 1000
#: How often a workflow is looked at while somebody waits for its end.
LOOK_SECONDS = 0.25
_LABEL = re.compile(LABEL_PATTERN)


class WorkflowRoutes:
    """Handlers of everything under `/api/v1/workflows`."""

    def __init__(
        self,
        *,
        settings: ApiSettings,
        catalogue: Catalogue,
        log: Log,
        queues: Queues,
        read_model: ReadModel,
        lookup: Lookup,
        recent: RecentTasks,
        watermark: Watermark,
    ) -> None:
        self._settings, self._catalogue, self._log, self._queues = settings, catalogue, log, queues
        self._read_model, self._lookup, self._recent, self._watermark = read_model, lookup, recent, watermark
        self._accepted: OrderedDict[str, Sequence[str]] = OrderedDict()

    def routes(self) -> list[Route]:
        """The paths; see `api.openapi_held` for their description."""
        return [
            resource(PATH, POST=self.submit),
            resource(PATH + "/{workflow_id}", GET=self.get, DELETE=self.cancel),
        ]

    async def submit(self, request: Request) -> Response:
        """202: the log holds the workflow, and with it all of its tasks."""
        key = idempotency_key(request)
        new_id = str(uuid.uuid4())
        workflow = workflow_submitted(
            await json_body(request, self._settings.body_bytes_max),
            at=datetime.now(UTC),
            new_id=new_id,
            source="http",
            idempotency_key=key,
            traceparent=valid_traceparent(request.headers.get("traceparent")),
        )
        tasks = tasks_of(workflow, self._catalogue, self._settings.defaults)
        self._check_classes(workflow.workflow_id, tasks)
        if workflow.workflow_id != new_id:
            rows = await self._seen(workflow.workflow_id, [task.task_id for task in tasks])
            if rows:
                await self._check_same(workflow.workflow_id, tasks, rows)
                return _answer(workflow.workflow_id, rows, 202)
        async with self._queues.places(_starting(tasks)):
            await self._log.workflow(workflow)
        for task in tasks:
            self._recent.remember(task)
        self._accepted[workflow.workflow_id] = [task.task_id for task in tasks]
        while len(self._accepted) > RECENT_MAX:
            self._accepted.popitem(last=False)
        return _answer(workflow.workflow_id, self._remembered(workflow.workflow_id, {}), 202)

    async def get(self, request: Request) -> Response:
        """The state of each step; with `?wait=`, held until all have ended or the time is over."""
        seconds = queries.wait_seconds(request, self._settings.wait_seconds_max)
        deadline = asyncio.get_running_loop().time() + seconds
        workflow_id = _workflow_id(request)
        rows = await self._rows(workflow_id)
        while not _ended(rows) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
            rows = await self._rows(workflow_id)
        return _answer(workflow_id, rows, 200)

    async def cancel(self, request: Request) -> Response:
        """202: whoever has its unfinished tasks has been asked to stop them; 200: all have ended."""
        workflow_id = _workflow_id(request)
        rows = await self._rows(workflow_id)
        at = datetime.now(UTC)
        commands = [
            CancelTask(
                task_id=row.task_id, run=row.run, requested_at=at, reason=f"workflow {workflow_id} was cancelled"
            )
            for row in rows
            if row.status not in TERMINAL
        ]
        await asyncio.gather(*(self._log.command(command) for command in commands))
        return _answer(workflow_id, rows, 202 if commands else 200)

    async def _rows(self, workflow_id: str) -> Sequence[StepRow]:
        """The steps as far as anyone knows.

        Raises:
            Problem: 404 once the read model has seen all there was when asked; 503 if it does not get there in time.
            ReadModelUnavailable, LogUnavailable: there is no telling.
        """
        if rows := await self._seen(workflow_id):
            return rows
        passed = await self._watermark.passed(self._settings.lag_seconds_max)
        if rows := await self._seen(workflow_id):
            return rows
        if passed:
            raise Problem(WORKFLOW_NOT_FOUND, f"there is no workflow {workflow_id}", workflow_id=workflow_id)
        raise Problem(
            READ_MODEL_UNAVAILABLE,
            f"the read model lags behind the log, which may hold workflow {workflow_id}; ask again",
            retry_after_seconds=OUTAGE_RETRY_SECONDS,
        )

    async def _seen(self, workflow_id: str, task_ids: Sequence[str] = ()) -> Sequence[StepRow]:
        shown = {row.task_id: row for row in await self._read_model.steps(workflow_id, task_ids)}
        return self._remembered(workflow_id, shown)

    def _remembered(self, workflow_id: str, shown: Mapping[str, StepRow]) -> Sequence[StepRow]:
        """What the read model shows, and what this process has accepted and that does not show yet."""
        rows = dict(shown)
        missing = [each for each in self._accepted.get(workflow_id, ()) if each not in rows]
        for task_id in missing:
            if (row := self._recent.get(task_id)) is not None:
                rows[task_id] = _step_row(row)
        if not missing:
            self._accepted.pop(workflow_id, None)
        return list(rows.values())

    def _check_classes(self, workflow_id: str, tasks: Iterable[TaskSubmitted]) -> None:
        flaws = [
            Flaw(
                f"/steps/{step_of(workflow_id, task.task_id)}/type",
                f"its resource class {task.resource_class!r} is not set up here",
            )
            for task in tasks
            if task.resource_class not in self._settings.classes
        ]
        if flaws:
            raise invalid(*flaws)

    async def _check_same(self, workflow_id: str, tasks: Sequence[TaskSubmitted], rows: Sequence[StepRow]) -> None:
        """A repeated request is the same workflow, or another one wants its id."""
        differing = sorted({row.task_id for row in rows} ^ {task.task_id for task in tasks})
        for task in tasks:
            before = await self._lookup.seen(task.task_id)
            submission = before.state.submission if before else None
            if submission is not None and (differences(task, submission) or submission.workflow_id != workflow_id):
                differing.append(task.task_id)
        if differing:
            names = ", ".join(step_of(workflow_id, each) for each in differing[:10])
            raise Problem(ID_TAKEN, f"there is another workflow, or a task, of that id; they differ in {names}")


def _starting(tasks: Iterable[TaskSubmitted]) -> Counter[str]:
    """How many tasks of each class go to their queue at once; others are held first."""
    return Counter(task.resource_class for task in tasks if task.run_at is None and not task.depends_on)


def _answer(workflow_id: str, rows: Sequence[StepRow], status: int) -> Response:
    headers = {"Location": f"{PATH}/{workflow_id}"} if status == 202 else None
    return json_response(workflow_view(workflow_id, rows), status, headers)


def _ended(rows: Sequence[StepRow]) -> bool:
    return all(row.status in TERMINAL for row in rows)


def _workflow_id(request: Request) -> str:
    value: str = request.path_params["workflow_id"]
    if not _LABEL.fullmatch(value):
        raise Problem(WORKFLOW_NOT_FOUND, "there is no such workflow: none has an id of that form")
    return value


def _step_row(row: TaskRow) -> StepRow:
    state, submission = row.state, row.state.submission
    assert submission is not None, "what was accepted here has a submission"
    assert state.status is not None, "and a status"
    return StepRow(
        task_id=state.task_id,
        run=state.run,
        workflow_id=submission.workflow_id,
        status=state.status,
        type=row.type,
        tenant=row.tenant,
        attempt=state.attempt,
        depends_on=submission.depends_on,
        on_dependency_failure=submission.on_dependency_failure,
        error_code=None,
        error_detail=None,
        created_at=submission.occurred_at,
        started_at=None,
        finished_at=None,
    )
