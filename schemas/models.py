"""How models and providers are described: in the settings, at the API, and as JSON in the log of the registry."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    PositiveFloat,
    StringConstraints,
    field_validator,
    model_validator,
)

#: A task that names this model leaves the choice to the router.
AUTO: Final = "auto"
#: `#` divides a model from its instance, `,` the targets of a list, and a name is part of a URL's path.
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}$")]
#: No limit and no measure of a model is larger; whoever writes more means none. What is stored of them has 64 bits.
COUNT_MAX: Final = 1_000_000_000
Count = Annotated[int, Field(gt=0, le=COUNT_MAX)]
#: As HTTP has it: neither part may end its line and begin another one. Source: RFC 9110, section 5.
HeaderName = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$")]
HeaderValue = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]([\t\x20-\x7e]{0,4094}[\x21-\x7e])?$")]
#: Where a secret lies. The secret itself never enters the log.
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
#: Endpoints by preset, and the variable that usually holds the key.
PRESETS: Final = {
    "openai": ("https://api.openai.com/v1", "env:OPENAI_API_KEY"),
    "kimi": ("https://api.moonshot.cn/v1", "env:KIMI_API_KEY"),
    "qwen": ("https://dashscope.aliyuncs.com/compatible-mode/v1", "env:DASHSCOPE_API_KEY"),
}

Balancing = Literal["round_robin", "weighted_round_robin", "least_connections"]


class _Described(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RateLimits(_Described):
    """What an account allows. What is absent is not limited."""

    #: Calls at a time.
    concurrency: Count | None = None
    #: Calls begun in a minute.
    requests_per_minute: Count | None = None
    #: Prompt and answer together; a call reserves its prompt and its `max_tokens`, and settles what it used.
    tokens_per_minute: Count | None = None


class Prices(_Described):
    """Money for 1,000,000 tokens, in the one currency that the installation reckons in."""

    input: float = Field(default=0.0, ge=0)
    output: float = Field(default=0.0, ge=0)


class HealthCheck(_Described):
    """How an instance that failed is found to be well again; well ones are judged by the calls they serve."""

    #: Asked by GET below the instance's base URL; any answer below 500 is a sign of life.
    path: Annotated[str, StringConstraints(pattern=r"^/")] = "/models"
    timeout_seconds: PositiveFloat = 3.0
    #: Failures in a row that take an instance out.
    failures_max: Count = 2
    #: Time from one probe to the next; doubles with each that fails, up to the longest.
    interval_seconds: PositiveFloat = 2.0
    interval_seconds_max: PositiveFloat = 60.0


class ProviderDefinition(_Described):
    """One account at an OpenAI-compatible endpoint: an endpoint, a credential, and what it allows."""

    name: ModelName
    #: Fills in `base_url` and `api_key` where they are left out.
    preset: Literal["openai", "kimi", "qwen"] | None = None
    #: Which plug-in speaks to it; `openai` is the protocol that nearly all of them share.
    protocol: str = "openai"
    base_url: HttpUrl | None = None
    #: `env:NAME`; None: the endpoint wants none.
    api_key: str | None = None
    #: Sent with each call. A value may be `env:NAME`.
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    limits: RateLimits = RateLimits()
    #: Of its models that have no prices of their own; None: not known.
    prices: Prices | None = None
    #: Longest silence of the endpoint before the attempt fails.
    silence_seconds_max: PositiveFloat = 120.0

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, value: object) -> object:
        if not isinstance(value, dict) or value.get("preset") not in PRESETS:
            return value
        base_url, api_key = PRESETS[value["preset"]]
        given = {name: each for name, each in value.items() if each is not None}
        return {"base_url": base_url, **({} if "base_url" in given else {"api_key": api_key}), **given}

    @field_validator("api_key")
    @classmethod
    def _a_reference(cls, value: str | None) -> str | None:
        return None if value is None else _reference(value)

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        if self.base_url is None and self.protocol == "openai":
            raise ValueError("give base_url, or a preset: openai, kimi, qwen")
        return self


class Replica(_Described):
    """One of several instances of a model: a file on this machine, or an endpoint."""

    base_url: HttpUrl | None = None
    path: str | None = Field(default=None, min_length=1)
    #: `env:NAME`; None: the provider's.
    api_key: str | None = None
    #: Share of the calls, beside the other weights, under weighted_round_robin.
    weight: Count = 1

    @field_validator("api_key")
    @classmethod
    def _a_reference(cls, value: str | None) -> str | None:
        return None if value is None else _reference(value)

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.base_url is None) == (self.path is None):
            raise ValueError("give either base_url or path")
        return self


class ModelDefinition(_Described):
    """A model: who serves it, what it can do, what it costs."""

    name: ModelName
    description: str = ""
    resource_class: str = "llm"
    #: The account that serves it; None for a file on this machine, and for replicas that are endpoints.
    provider: ModelName | None = None
    #: A GGUF file on this machine, or `demo`.
    path: str | None = Field(default=None, min_length=1)
    #: What the endpoint calls it; None: its name here.
    served_as: str | None = Field(default=None, min_length=1)
    #: `chat` for instruction-tuned models, `completion` for base models; None: `completion` for `demo`, else `chat`.
    mode: Literal["chat", "completion"] | None = None
    #: Attempts that use it at a time, over all workers; None: not limited by the model.
    max_workers: Count | None = None
    #: Tasks of a model that is offline wait.
    status: Literal["online", "offline"] = "online"
    #: None: the provider's; a local model is free.
    prices: Prices | None = None
    #: How good its answers are, 0 to 1, in the operator's judgement: what routing by quality goes by.
    quality: float = Field(default=0.5, ge=0, le=1)
    #: Tokens that prompt and answer may have together; None: not known for a remote model, 2048 for a local one.
    context_length: Count | None = None
    #: Memory that each instance takes that a worker has loaded, in MB; counts against `memory_mb` of its class.
    memory_mb: Count | None = None
    #: Longest answer, where a task names none.
    max_tokens: Count | None = None
    #: Where a task names none.
    temperature: float | None = Field(default=None, ge=0, le=2)
    #: Instances to choose from; a local model's are `name#0`, `name#1`. None given: the provider, or the path, alone.
    replicas: tuple[Replica, ...] = Field(default=(), max_length=64)
    balancing: Balancing = "round_robin"
    health_check: HealthCheck = HealthCheck()
    #: Where its tasks go when it cannot serve them, in this order.
    fallbacks: tuple[ModelName, ...] = Field(default=(), max_length=16)

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, value: str) -> str:
        if value in (AUTO, "default"):
            raise ValueError(f"{value!r} is reserved: it leaves the choice to the system")
        return value

    @model_validator(mode="after")
    def _served_by_somebody(self) -> Self:
        if self.provider is not None and (self.path is not None or any(each.path for each in self.replicas)):
            raise ValueError("give either a provider or files on this machine, not both")
        if self.path is not None and self.replicas:
            raise ValueError("give either path or replicas: each replica names its own path")
        if self.provider is None and self.path is None and not self.replicas:
            raise ValueError("give provider, path or replicas")
        if len({each.path is None for each in self.replicas}) > 1:
            raise ValueError("replicas are all files or all endpoints")
        return self

    @property
    def local(self) -> bool:
        """Whether it runs on the machines of its workers."""
        return self.path is not None or any(each.path is not None for each in self.replicas)

    @property
    def routing_key(self) -> str:
        """What its work meets at: the account that serves it, else the model itself with all its instances."""
        return self.provider or self.name

    @property
    def upstream_name(self) -> str:
        """What the endpoint calls it."""
        return self.served_as or self.name


def _reference(value: str) -> str:
    if not _REFERENCE.fullmatch(value):
        raise ValueError("must be env:NAME, the environment variable that holds the key; keys never enter the log")
    return value
