"""What the handlers need to know of the installation. The composition root fills it from its settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from domain.key_grants import WELL_KNOWN, KeyGrants
from schemas.models import AUTO, ModelDefinition, ProviderDefinition

#: `llm.model_path` with this value means the model of the extra `demo-models`.
DEMO_MODEL = "demo"


class LlmSettings(BaseModel):
    """Where text comes from: an OpenAI-compatible endpoint, or a GGUF file served on this machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: An OpenAI-compatible endpoint, such as `https://api.openai.com/v1`. Wins over `model_path`.
    base_url: str | None = None
    #: The key, or `env:NAME` to read it from the environment when it is used, so that it is stored nowhere.
    api_key: SecretStr | None = None
    #: Model asked for when a task names none.
    model: str | None = None
    #: A GGUF file, or `demo`.
    model_path: str | None = None
    #: `chat` for instruction-tuned models; `completion` for base models, with few-shot prompts;
    #: None: `completion` for the demo model, else `chat`.
    mode: Literal["chat", "completion"] | None = None
    #: Context of a local model, in tokens: prompt and answer together.
    n_ctx: int = Field(default=2048, ge=128)
    #: Memory that the model of `model_path` takes when it is loaded, in MB; counts against the class's `memory_mb`.
    memory_mb: int | None = Field(default=None, ge=1)
    #: Threads of a local model; None: as many as there are cores.
    threads: int | None = Field(default=None, ge=1)
    #: Ports for local model servers, the first free one is taken; any free port when none of them is.
    ports: tuple[int, ...] = (8081, 8082, 8083, 8084, 8085)
    #: Longest silence of an endpoint, in seconds, before the attempt fails.
    silence_seconds_max: float = Field(default=120.0, gt=0)
    #: Longest start of a local model server, in seconds.
    start_seconds_max: float = Field(default=120.0, gt=0)
    #: Models by name, beside the one above: see docs/routing.md. Those that are defined at the API come on top.
    models: tuple[ModelDefinition, ...] = ()
    #: Accounts at endpoints that serve models.
    providers: tuple[ProviderDefinition, ...] = ()
    #: Start local models together with the worker, rather than at their first task.
    warm_up: bool = False

    @model_validator(mode="after")
    def _defined_once(self) -> Self:
        for kind, names in (
            ("model", [model.name for model in self.models]),
            ("provider", [provider.name for provider in self.providers]),
        ):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{kind} {', '.join(twice)} is defined twice")
        if missing := sorted({m.provider for m in self.models if m.provider} - {p.name for p in self.providers}):
            raise ValueError(f"no provider {', '.join(missing)} is defined, though models name it")
        return self

    @property
    def default_model(self) -> str | None:
        """What a task is taken to ask for that names no model; None: the endpoint or the file of these settings."""
        names = [model.name for model in self.models]
        if self.model in names:
            return self.model
        return AUTO if self.base_url is None and self.model_path is None else None

    @property
    def completion_mode(self) -> bool:
        """Whether prompts are plain text to go on with, as base models need them."""
        return self.mode == "completion" or (self.mode is None and self.is_demo_model)

    @property
    def is_demo_model(self) -> bool:
        """Whether the local demo model answers."""
        return self.base_url is None and self.model_path == DEMO_MODEL

    def resolve_api_key(self) -> str | None:
        """The key itself, looked up now.

        Raises:
            LookupError: it refers to an environment variable that is not set.
        """
        if self.api_key is None:
            return None
        value = self.api_key.get_secret_value()
        if not value.startswith("env:"):
            return value
        name = value.removeprefix("env:")
        if name not in os.environ:
            raise LookupError(f"llm.api_key refers to the environment variable {name}, which is not set")
        return os.environ[name]


class HttpSettings(BaseModel):
    """What `api_request` may do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Whether loopback and private networks may be called. Link-local and cloud metadata addresses never may.
    allow_private: bool = True
    #: Most bytes of an answer's decoded body.
    response_bytes_max: int = Field(default=1024 * 1024, ge=1)
    #: Redirects followed when the task asks for it.
    redirects_max: int = Field(default=5, ge=0)


class HandlerSettings(BaseModel):
    """Everything that a handler may ask of the installation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    llm: LlmSettings = LlmSettings()
    http: HttpSettings = HttpSettings()
    #: Which environment variables may be sent to which providers.
    key_grants: KeyGrants = KeyGrants.of(WELL_KNOWN)
    #: The only folder from which tasks may name files; None: none.
    files_dir: Path | None = None
    #: An fsspec URL of the folder for large inputs and outputs, such as `file:///var/lib/penstock/artifacts`.
    artifacts_url: str = "memory://penstock-artifacts"
    #: Bound on the memory of each engine process for Python functions, in bytes; None: none.
    engine_memory_bytes_max: int | None = Field(default=None, ge=64 * 1024 * 1024)
    #: Longest video that `subtitle` takes, in seconds.
    video_seconds_max: float = Field(default=4 * 3600.0, gt=0)
