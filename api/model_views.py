"""Models and providers as callers write and read them: in our own shape, or in the one of the first seed."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from api.control_bodies import Body, ModelConfig
from api.problems import invalid
from api.views import View
from domain.configuration import Configuration
from domain.errors import Flaw
from domain.submission import flaws_of
from schemas.models import Count, ModelDefinition, ProviderDefinition

Kind = Literal["openai", "local", "custom"]
_OBJECT: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


class NewModel(Body):
    """A model: either `definition`, or its type and where it answers.

    openai and custom: an endpoint of its own (`base_url`, `api_key`), which becomes a provider of the model's name.
    local: a server at `host` and `port`, or a file (`model_path`) that the workers serve themselves.
    """

    name: str = Field(max_length=128)
    type: Kind | None = None
    config: ModelConfig = ModelConfig()
    max_workers: Count | None = Field(default=None, description="Attempts that use it at a time.")
    definition: dict[str, Any] | None = Field(
        default=None, description="All that a model may have; see docs/scheduling.md. Excludes type and config."
    )

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        if (self.type is None) == (self.definition is None):
            raise ValueError("give either type and config, or definition")
        return self


class ModelView(View):
    """A model. Its key is not shown."""

    id: int = Field(description="Stands for its name wherever a model is named by its id.")
    name: str
    type: str
    status: str
    max_workers: int | None
    provider: str | None
    definition: dict[str, Any] = Field(description="What of it differs from the defaults.")


class ModelsView(View):
    """All models."""

    models: list[ModelView]


class ProviderView(View):
    """One account at an endpoint. Its key is not shown."""

    name: str
    base_url: str | None
    has_key: bool
    definition: dict[str, Any] = Field(description="What of it differs from the defaults.")


class ProvidersView(View):
    """All accounts."""

    providers: list[ProviderView]


def definitions_of(model: NewModel) -> tuple[ModelDefinition, ProviderDefinition | None]:
    """What is kept of it: the model, and the account that it brings with it, if any.

    Raises:
        Problem: 422, with pointers into the body.
    """
    if model.definition is not None:
        extra = {} if model.max_workers is None else {"max_workers": model.max_workers}
        return _model({**model.definition, **extra, "name": model.name}, "/definition"), None
    config = model.config
    common: dict[str, Any] = {"name": model.name, "max_workers": model.max_workers}
    common |= {"max_tokens": config.max_tokens, "temperature": config.temperature}
    if model.type == "local" and config.host is None and config.base_url is None:
        if config.model_path is None:
            raise invalid(Flaw("/config", "a local model has a model_path, or a host and a port"))
        return _model({**common, "path": config.model_path}, "/config"), None
    served_as = config.model or (config.model_path if model.type == "local" else None)
    provider = _provider({"name": model.name, **_address(model)}, "/config")
    return _model({**common, "provider": model.name, "served_as": served_as}, "/config"), provider


def _address(model: NewModel) -> dict[str, Any]:
    config = model.config
    key = {"api_key": config.api_key}
    if config.base_url is not None:
        return {"base_url": config.base_url, **key}
    if config.host is not None:
        host = f"[{config.host}]" if ":" in config.host else config.host
        return {"base_url": f"http://{host}:{config.port or 8000}/v1", **key}
    if model.type == "openai":
        return {"preset": "openai", **key}
    raise invalid(Flaw("/config/base_url", "is missing: where does the model answer?"))


def provider_of(name: str, body: bytes) -> ProviderDefinition:
    """An account, as the body of a request has it.

    Raises:
        Problem: 422.
    """
    try:
        given = _OBJECT.validate_json(body)
    except ValidationError as error:
        raise invalid(*flaws_of(error)) from error
    return _provider({**given, "name": name}, "")


def _model(fields: dict[str, Any], under: str) -> ModelDefinition:
    try:
        return ModelDefinition.model_validate(fields)
    except ValidationError as error:
        raise invalid(*flaws_of(error, under)) from error


def _provider(fields: dict[str, Any], under: str) -> ProviderDefinition:
    try:
        return ProviderDefinition.model_validate(fields)
    except ValidationError as error:
        raise invalid(*flaws_of(error, under)) from error


def model_view(configuration: Configuration, model: ModelDefinition) -> ModelView:
    """A model as callers read it."""
    provider = configuration.providers.get(model.provider or "")
    kind = "local" if model.local else "openai" if provider is None or _of_openai(provider) else "custom"
    return ModelView(
        id=configuration.number_of(model.name),
        name=model.name,
        type=kind,
        status=model.status,
        max_workers=model.max_workers,
        provider=model.provider,
        definition=_shown(model),
    )


def models_view(configuration: Configuration) -> ModelsView:
    """All models, in the order of their numbers."""
    views = [model_view(configuration, model) for model in configuration.models.values()]
    return ModelsView(models=sorted(views, key=lambda view: view.id))


def provider_view(provider: ProviderDefinition) -> ProviderView:
    """An account as callers read it."""
    base_url = None if provider.base_url is None else str(provider.base_url)
    return ProviderView(
        name=provider.name, base_url=base_url, has_key=provider.api_key is not None, definition=_shown(provider)
    )


def providers_view(configuration: Configuration) -> ProvidersView:
    """All accounts, by name."""
    return ProvidersView(providers=[provider_view(each) for _, each in sorted(configuration.providers.items())])


def _of_openai(provider: ProviderDefinition) -> bool:
    return provider.preset == "openai" or str(provider.base_url).startswith("https://api.openai.com/")


def _shown(definition: ModelDefinition | ProviderDefinition) -> dict[str, Any]:
    """Headers may hold keys too, where they are no references."""
    hidden: Any = {"api_key": True, "headers": True, "replicas": {"__all__": {"api_key"}}}
    return definition.model_dump(mode="json", exclude_defaults=True, exclude=hidden)
