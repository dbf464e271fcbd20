"""The routes of models, and of the providers' accounts that serve them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import model_views
from api.bodies import json_body
from api.configuring import Configuring
from api.control_bodies import ModelStatusBody, parsed
from api.model_views import NewModel, definitions_of
from api.ports import ApiSettings
from api.problems import MODEL_NOT_FOUND, MODEL_TAKEN, NOT_FOUND, PROVIDER_IN_USE, Problem, invalid
from api.routing import resource
from api.views import json_response
from domain.configuration import Configuration
from domain.errors import Flaw
from domain.key_grants import Sent, sent_by_model, sent_by_provider
from schemas.configuration import ModelDefined, ModelRemoved, ModelStatusSet, ProviderDefined, ProviderRemoved
from schemas.models import ModelDefinition, ProviderDefinition

PATH = "/api/v1/models"
PROVIDERS = "/api/v1/providers"


class ModelRoutes:
    """Handlers of everything under `/api/v1/models` and `/api/v1/providers`."""

    def __init__(self, settings: ApiSettings, configuring: Configuring) -> None:
        self._settings = settings
        self._configuring = configuring

    def routes(self) -> list[Route]:
        """The paths; see `api.openapi_control` for their description. A model's id is its number or its name."""
        return [
            resource(PATH, GET=self.list, POST=self.create),
            resource(PATH + "/{model_id}", GET=self.get, PUT=self.replace, DELETE=self.remove),
            resource(PATH + "/{model_id}/status", PUT=self.set_status),
            resource(PROVIDERS, GET=self.providers),
            resource(PROVIDERS + "/{name}", GET=self.provider, PUT=self.define_provider, DELETE=self.remove_provider),
        ]

    async def list(self, _: Request) -> Response:
        """All models, in the order of their numbers."""
        return json_response(model_views.models_view(await self._configuring.present()))

    async def get(self, request: Request) -> Response:
        """One model."""
        return _answer(*await self._model(request))

    async def create(self, request: Request) -> Response:
        """201: the model is known from now on."""
        model, provider = await self._definitions(request)
        now = await self._configuring.present()
        if model.name in now.models:
            number = now.number_of(model.name)
            raise Problem(MODEL_TAKEN, f"model {model.name!r} exists; PUT replaces it", id=number)
        return _answer(await self._define(now, model, provider), model, 201)

    async def replace(self, request: Request) -> Response:
        """The model as it is now; it keeps its number."""
        now, before = await self._model(request)
        model, provider = await self._definitions(request)
        if model.name != before.name:
            raise invalid(Flaw("/name", f"is not {before.name!r}: a model keeps its name"))
        return _answer(await self._define(now, model, provider), model)

    async def remove(self, request: Request) -> Response:
        """The models that are left."""
        _, model = await self._model(request)
        now = await self._configuring.make(partial(ModelRemoved, name=model.name))
        return json_response(model_views.models_view(now))

    async def set_status(self, request: Request) -> Response:
        """The model, online or offline; tasks of one that is offline wait."""
        _, model = await self._model(request)
        body = parsed(ModelStatusBody, await json_body(request, self._settings.body_bytes_max))
        now = await self._configuring.make(
            partial(ModelStatusSet, name=model.name, status=body.status, reason=body.reason)
        )
        return _answer(now, now.models.get(model.name, model))

    async def providers(self, _: Request) -> Response:
        """All accounts."""
        return json_response(model_views.providers_view(await self._configuring.present()))

    async def provider(self, request: Request) -> Response:
        """One account."""
        _, provider = await self._provider(request)
        return json_response(model_views.provider_view(provider))

    async def define_provider(self, request: Request) -> Response:
        """The account as it is now."""
        name: str = request.path_params["name"]
        body = await json_body(request, self._settings.body_bytes_max)
        provider = model_views.provider_of(name, body)
        models = [model for model in (await self._configuring.present()).models.values() if model.provider == name]
        elsewhere = (replace(each, pointer="") for model in models for each in sent_by_model(model, provider))
        self._check_keys(chain(sent_by_provider(provider), elsewhere))
        await self._configuring.make(
            partial(ProviderDefined, name=name, definition=provider.model_dump_json(exclude_defaults=True))
        )
        return json_response(model_views.provider_view(provider))

    async def remove_provider(self, request: Request) -> Response:
        """The accounts that are left."""
        now, provider = await self._provider(request)
        served = sorted(model.name for model in now.models.values() if model.provider == provider.name)
        if served:
            raise Problem(PROVIDER_IN_USE, f"{provider.name} serves {', '.join(served)}", models=served)
        now = await self._configuring.make(partial(ProviderRemoved, name=provider.name))
        return json_response(model_views.providers_view(now))

    async def _definitions(self, request: Request) -> tuple[ModelDefinition, ProviderDefinition | None]:
        return definitions_of(parsed(NewModel, await json_body(request, self._settings.body_bytes_max)))

    async def _define(
        self, now: Configuration, model: ModelDefinition, provider: ProviderDefinition | None
    ) -> Configuration:
        if provider is None and model.provider is not None and model.provider not in now.providers:
            raise invalid(Flaw("/provider", f"there is no provider {model.provider!r}"))
        if model.resource_class not in self._settings.classes:
            raise invalid(Flaw("/resource_class", f"there is no class {model.resource_class!r}"))
        self._check_keys(_sent(model, provider, now.providers.get(model.provider or "")))
        accounts = (
            [] if provider is None else [partial(ProviderDefined, name=provider.name, definition=_json(provider))]
        )
        return await self._configuring.make(*accounts, partial(ModelDefined, name=model.name, definition=_json(model)))

    def _check_keys(self, sent: Iterable[Sent]) -> None:
        """Say now what every task would fail of; it is the workers, by their own settings, that refuse."""
        flaws = [Flaw(each.pointer, each.refusal) for each in self._settings.key_grants.refused(sent)]
        if flaws:
            raise invalid(*flaws)

    async def _model(self, request: Request) -> tuple[Configuration, ModelDefinition]:
        reference: str = request.path_params["model_id"]
        now = await self._configuring.present()
        model = now.model_named(reference)
        if model is None:
            raise Problem(MODEL_NOT_FOUND, f"there is no model {reference!r}")
        return now, model

    async def _provider(self, request: Request) -> tuple[Configuration, ProviderDefinition]:
        name: str = request.path_params["name"]
        now = await self._configuring.present()
        if name not in now.providers:
            raise Problem(NOT_FOUND, f"there is no provider {name!r}")
        return now, now.providers[name]


def _sent(model: ModelDefinition, own: ProviderDefinition | None, named: ProviderDefinition | None) -> Iterator[Sent]:
    """What a model would send where, with pointers into the request: it brings its own account, or names one."""
    if own is not None:
        return (replace(each, pointer=f"/config{each.pointer}") for each in sent_by_provider(own))
    if model.replicas or named is None:
        return (replace(each, pointer=f"/definition{each.pointer}") for each in sent_by_model(model, named))
    return (replace(each, pointer="/definition/provider") for each in sent_by_provider(named))


def _json(definition: ModelDefinition | ProviderDefinition) -> str:
    return definition.model_dump_json(exclude_defaults=True)


def _answer(configuration: Configuration, model: ModelDefinition, status: int = 200) -> Response:
    view = model_views.model_view(configuration, model)
    return json_response(view, status, {"Location": f"{PATH}/{view.id}"} if status == 201 else None)
