"""The schedule routes. A schedule is configuration: kept in the registry, and gone by by whichever intake leads."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.bodies import json_body
from api.configuring import DOOR, Configuring
from api.ports import ApiSettings
from api.problems import SCHEDULE_NOT_FOUND, SCHEDULE_TAKEN, Problem, invalid
from api.routing import resource
from api.views import json_response
from api.workflow_views import SchedulesView, schedule_view
from domain.catalogue import Catalogue
from domain.configuration import Configuration, Schedule
from domain.errors import Flaw
from domain.schedules import schedule_defined, tick_task
from schemas.configuration import ScheduleDefined, ScheduleRemoved

PATH = "/api/v1/schedules"


class ScheduleRoutes:
    """Handlers of everything under `/api/v1/schedules`."""

    def __init__(self, settings: ApiSettings, catalogue: Catalogue, configuring: Configuring) -> None:
        self._settings, self._catalogue, self._configuring = settings, catalogue, configuring

    def routes(self) -> list[Route]:
        """The paths; see `api.openapi_held` for their description."""
        return [
            resource(PATH, GET=self.list, POST=self.create),
            resource(PATH + "/{schedule_id}", GET=self.get, DELETE=self.remove),
        ]

    async def list(self, _: Request) -> Response:
        """All schedules, by id."""
        return _all(await self._configuring.present())

    async def get(self, request: Request) -> Response:
        """One schedule."""
        return json_response(schedule_view(await self._schedule(request), datetime.now(UTC)))

    async def create(self, request: Request) -> Response:
        """201: it ticks from now on; 200: it did so before."""
        at = datetime.now(UTC)
        definition = schedule_defined(
            await json_body(request, self._settings.body_bytes_max),
            self._catalogue,
            at=at,
            new_id=str(uuid.uuid4()),
            change_id="",
            changed_by=DOOR,
            defaults=self._settings.defaults,
        )
        schedule = _schedule(definition)
        resource_class = tick_task(schedule, at, self._catalogue, self._settings.defaults).resource_class
        if resource_class not in self._settings.classes:
            raise invalid(Flaw("/submission/type", f"its resource class {resource_class!r} is not set up here"))
        before = (await self._configuring.present()).schedules.get(schedule.schedule_id)
        if before is not None:
            if replace(schedule, defined_at=before.defined_at) != before:
                raise Problem(SCHEDULE_TAKEN, f"schedule {schedule.schedule_id} is another one; remove it first")
            return json_response(schedule_view(before, at))
        now = await self._configuring.make(partial(replace, definition))
        headers = {"Location": f"{PATH}/{schedule.schedule_id}"}
        return json_response(schedule_view(now.schedules.get(schedule.schedule_id, schedule), at), 201, headers)

    async def remove(self, request: Request) -> Response:
        """The schedules that are left; tasks that it has submitted stay."""
        schedule = await self._schedule(request)
        return _all(await self._configuring.make(partial(ScheduleRemoved, schedule_id=schedule.schedule_id)))

    async def _schedule(self, request: Request) -> Schedule:
        schedule_id: str = request.path_params["schedule_id"]
        schedule = (await self._configuring.present()).schedules.get(schedule_id)
        if schedule is None:
            raise Problem(SCHEDULE_NOT_FOUND, f"there is no schedule {schedule_id!r}")
        return schedule


def _schedule(definition: ScheduleDefined) -> Schedule:
    return Schedule(
        definition.schedule_id,
        definition.cron,
        definition.time_zone,
        definition.submission,
        definition.catch_up,
        definition.changed_at,
    )


def _all(configuration: Configuration) -> Response:
    at = datetime.now(UTC)
    found = [schedule_view(each, at) for _, each in sorted(configuration.schedules.items())]
    return json_response(SchedulesView(schedules=found))
