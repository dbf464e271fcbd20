"""The routes of limits, and of tenants' weights."""

from __future__ import annotations

from functools import partial
from typing import cast, get_args

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import control_views as views
from api.bodies import json_body
from api.configuring import Configuring
from api.control_bodies import LimitBody, WeightBody, parsed
from api.ports import ApiSettings
from api.problems import NOT_FOUND, Problem, invalid
from api.queries import NAME_CHARACTERS_MAX
from api.routing import resource
from api.views import json_response
from domain.errors import Flaw
from domain.limits.limit import SCOPES, Scope
from schemas.configuration import LimitSet, TenantWeighted

PATH = "/api/v1/limits"
TENANTS = "/api/v1/tenants"


class LimitRoutes:
    """Handlers of everything under `/api/v1/limits`, and of a tenant's weight."""

    def __init__(self, settings: ApiSettings, configuring: Configuring) -> None:
        self._settings = settings
        self._configuring = configuring

    def routes(self) -> list[Route]:
        """The paths; see `api.openapi_control` for their description."""
        return [
            resource(PATH, GET=self.list),
            resource(PATH + "/{scope}/{name:path}", GET=self.get, PUT=self.set, DELETE=self.lift),
            resource(TENANTS + "/{name:path}/weight", GET=self.weight, PUT=self.weigh),
        ]

    async def list(self, _: Request) -> Response:
        """Every limit that holds."""
        return json_response(views.limits_view(await self._configuring.present()))

    async def get(self, request: Request) -> Response:
        """One limit."""
        key = _scope(request), _name(request)
        limit = (await self._configuring.present()).limits.get(key)
        if limit is None:
            raise Problem(NOT_FOUND, f"{key[0]} {key[1]} has no limit")
        return json_response(views.limit_view(key, limit))

    async def set(self, request: Request) -> Response:
        """The limit as it is now; what the body leaves out is not limited any more."""
        scope, name = _scope(request), _name(request)
        body = parsed(LimitBody, await json_body(request, self._settings.body_bytes_max))
        now = await self._configuring.make(partial(LimitSet, scope=scope, name=name, **body.model_dump()))
        return json_response(views.limit_view((scope, name), now.limits[scope, name]))

    async def lift(self, request: Request) -> Response:
        """The limits that are left; what a model's or provider's definition says holds again."""
        now = await self._configuring.make(partial(LimitSet, scope=_scope(request), name=_name(request)))
        return json_response(views.limits_view(now))

    async def weight(self, request: Request) -> Response:
        """A tenant's weight."""
        name = _name(request)
        weight = (await self._configuring.present()).weight_of(name)
        return json_response(views.WeightView(tenant=name, weight=weight))

    async def weigh(self, request: Request) -> Response:
        """Another weight."""
        name = _name(request)
        body = parsed(WeightBody, await json_body(request, self._settings.body_bytes_max))
        now = await self._configuring.make(partial(TenantWeighted, tenant=name, weight=body.weight))
        return json_response(views.WeightView(tenant=name, weight=now.weight_of(name)))


def _scope(request: Request) -> Scope:
    scope = request.path_params["scope"]
    if scope not in get_args(Scope):
        raise Problem(NOT_FOUND, f"there are no limits by {scope!r}, only by {', '.join(SCOPES)}")
    return cast("Scope", scope)


def _name(request: Request) -> str:
    name: str = request.path_params["name"]
    if not (0 < len(name) <= NAME_CHARACTERS_MAX and name.isprintable()):
        raise invalid(Flaw("/name", f"must have 1 to {NAME_CHARACTERS_MAX} printable characters"))
    return name
