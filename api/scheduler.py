"""The scheduler's routes: in which order tasks start, what is paused, and how it goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import control_views as views
from api.bodies import json_body
from api.configuring import Configuring
from api.control_bodies import B, EveryStrategyBody, PauseBody, StrategyBody, parsed
from api.ports import ApiSettings, ReadModel
from api.problems import invalid
from api.routing import resource
from api.views import json_response
from domain.errors import Flaw
from schemas.configuration import ConfigurationEvent, DispatchPaused, DispatchResumed, StrategySelected

PATH = "/api/v1/scheduler"


class SchedulerRoutes:
    """Handlers of everything under `/api/v1/scheduler`, and of the one route that a seed has at the root."""

    def __init__(self, settings: ApiSettings, read_model: ReadModel, configuring: Configuring) -> None:
        self._settings = settings
        self._read_model = read_model
        self._configuring = configuring

    def routes(self) -> list[Route]:
        """The paths; see `api.openapi_control` for their description."""
        return [
            resource(PATH, GET=self.overview),
            resource(PATH + "/strategy", GET=self.strategies, PUT=self.select),
            resource(PATH + "/pauses", GET=self.pauses),
            resource(PATH + "/pause", POST=self.pause),
            resource(PATH + "/drain", POST=self.drain),
            resource(PATH + "/resume", POST=self.resume),
            resource("/scheduler/strategy", PUT=self.select_for_all),
        ]

    async def overview(self, _: Request) -> Response:
        """What is configured, and what the workers do."""
        configuration = await self._configuring.present()
        workers = await self._read_model.dispatchers(self._settings.classes)
        classes = [
            views.class_view(
                name, configuration.strategy_of(name), [worker for worker in workers if worker.resource_class == name]
            )
            for name in self._settings.classes
        ]
        answer = views.SchedulerView(
            classes=classes,
            pauses=views.pauses_view(configuration, workers).pauses,
            limits=views.limits_view(configuration).limits,
            weights=dict(configuration.weights),
        )
        return json_response(answer)

    async def strategies(self, _: Request) -> Response:
        """Every class's strategy."""
        return json_response(views.strategies_view(await self._configuring.present(), self._settings.classes))

    async def select(self, request: Request) -> Response:
        """Another strategy for one class; its waiting tasks are put in that order."""
        body = await self._body(StrategyBody, request)
        self._check_class(body.resource_class, "/class")
        now = await self._configuring.make(_selection(body.resource_class, body.strategy, body.options))
        return json_response(views.strategy_view(body.resource_class, now.strategy_of(body.resource_class)))

    async def select_for_all(self, request: Request) -> Response:
        """The same strategy for every class."""
        body = await self._body(EveryStrategyBody, request)
        options = {} if body.time_slice is None else {"time_slice_seconds": body.time_slice}
        await self._configuring.make(*[_selection(name, body.strategy, options) for name in self._settings.classes])
        message = f"every class starts its tasks by {body.strategy} now"
        return json_response(
            views.EveryStrategyView(message=message, strategy=body.strategy, time_slice=body.time_slice)
        )

    async def pauses(self, _: Request) -> Response:
        """All that is paused."""
        return json_response(views.pauses_view(await self._configuring.present()))

    async def pause(self, request: Request) -> Response:
        """Nothing of it starts any more; what runs goes on."""
        return await self._paused(request, drain=False)

    async def drain(self, request: Request) -> Response:
        """As a pause, by somebody who waits until nothing of it runs; see the overview."""
        return await self._paused(request, drain=True)

    async def _paused(self, request: Request, *, drain: bool) -> Response:
        body = await self._pause_body(request)
        change = partial(DispatchPaused, scope=body.scope, name=body.name, drain=drain, reason=body.reason)
        return json_response(views.pauses_view(await self._configuring.make(change)))

    async def resume(self, request: Request) -> Response:
        """It starts again; nothing changes where it was not paused."""
        body = await self._pause_body(request)
        change = partial(DispatchResumed, scope=body.scope, name=body.name, reason=body.reason)
        return json_response(views.pauses_view(await self._configuring.make(change)))

    async def _pause_body(self, request: Request) -> PauseBody:
        body = await self._body(PauseBody, request)
        if body.scope == "class":
            self._check_class(body.name, "/name")
        return body

    async def _body(self, kind: type[B], request: Request) -> B:
        return parsed(kind, await json_body(request, self._settings.body_bytes_max))

    def _check_class(self, name: str, pointer: str) -> None:
        if name not in self._settings.classes:
            raise invalid(Flaw(pointer, f"there is no class {name!r}; there are {', '.join(self._settings.classes)}"))


def _selection(resource_class: str, strategy: str, options: object) -> Callable[..., ConfigurationEvent]:
    return partial(
        StrategySelected, resource_class=resource_class, strategy=strategy, options=json.dumps(options, sort_keys=True)
    )
