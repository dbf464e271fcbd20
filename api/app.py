"""The application: routes, one set of error answers, and what runs beside the requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from api import docs_page, openapi, problems
from api.configuring import Configuring
from api.health import Health
from api.limits import LimitRoutes
from api.lookup import Lookup
from api.models import ModelRoutes
from api.ports import ApiDeps
from api.queues import Queues
from api.recent import RecentTasks
from api.request_log import RequestLog
from api.routing import resource
from api.scheduler import SchedulerRoutes
from api.schedules import ScheduleRoutes
from api.submissions import Submissions
from api.task_control import TaskControl
from api.tasks import TaskRoutes
from api.waiting import Waiters
from api.watermark import Watermark
from api.why import WhyRoutes
from api.workflows import WorkflowRoutes

#: How long a start waits for what was configured.
CONFIGURED_SECONDS_MAX = 5.0


def create_app(deps: ApiDeps) -> Starlette:
    """The API on the given log, broker and read model."""
    settings, read_model = deps.settings, deps.read_model
    watermark = Watermark(deps.broker, read_model, settings.classes)
    recent = RecentTasks()
    lookup = Lookup(read_model, recent, watermark, settings.lag_seconds_max)
    queues = Queues(deps.broker, read_model, settings.max_queue_size)
    waiters = Waiters(read_model.terminal)
    submissions = Submissions(
        settings=settings,
        catalogue=deps.catalogue,
        log=deps.log,
        queues=queues,
        lookup=lookup,
        recent=recent,
        watermark=watermark,
    )
    tasks = TaskRoutes(
        settings=settings, read_model=read_model, lookup=lookup, submissions=submissions, waiters=waiters
    )
    configuring = Configuring(deps.log, deps.registry)
    control = [
        *SchedulerRoutes(settings, read_model, configuring).routes(),
        *LimitRoutes(settings, configuring).routes(),
        *ModelRoutes(settings, configuring).routes(),
        *TaskControl(settings, deps.log, read_model, lookup).routes(),
        *WhyRoutes(read_model, lookup, configuring).routes(),
        *ScheduleRoutes(settings, deps.catalogue, configuring).routes(),
    ]
    workflows = WorkflowRoutes(
        settings=settings,
        catalogue=deps.catalogue,
        log=deps.log,
        queues=queues,
        read_model=read_model,
        lookup=lookup,
        recent=recent,
        watermark=watermark,
    )
    health = Health(settings, deps.broker, read_model, watermark)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        beside = [
            asyncio.create_task(waiters.run(), name="waiters"),
            asyncio.create_task(deps.registry.run(), name="registry"),
            asyncio.create_task(deps.notifications.listen(waiters.heard), name="notifications"),
        ]
        with suppress(TimeoutError):
            # Work is sent where its model is served, so the models must be known; without the log, none is accepted.
            await asyncio.wait_for(deps.registry.caught_up(), CONFIGURED_SECONDS_MAX)
        try:
            yield
        finally:
            for task in beside:
                task.cancel()
            for task in beside:
                with suppress(asyncio.CancelledError):
                    await task

    return Starlette(
        routes=[*tasks.routes(), *workflows.routes(), *control, *health.routes(), *_description(deps)],
        middleware=[Middleware(RequestLog)],
        exception_handlers=dict(problems.HANDLERS),
        lifespan=lifespan,
    )


def _description(deps: ApiDeps) -> list[Route]:
    """The API described for programs and for people; made once, since it changes only with a restart."""
    document = openapi.document(deps.settings, deps.catalogue)
    text = json.dumps(document, ensure_ascii=False).encode()
    page = docs_page.page(document)
    headers = {"Content-Security-Policy": docs_page.SECURITY_POLICY}

    async def as_json(_: Request) -> Response:
        return Response(text, media_type="application/json")

    async def as_html(_: Request) -> Response:
        return HTMLResponse(page, headers=headers)

    return [resource("/openapi.json", GET=as_json), resource("/docs", GET=as_html)]
