"""What can happen to the configuration of a running system: the facts that the topic `registry` keeps for ever.

Each is the change of one thing, its `subject`; one request may make several, all under one `change_id`. The last word
on a subject counts. Options, definitions and submissions are JSON texts, so that they can grow without a new version.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from schemas.events import derived_uuid


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What all changes share."""

    TYPE: ClassVar[str]
    VERSION: ClassVar[int] = 1

    #: The request that it was part of.
    change_id: str
    #: When it was decided, by its writer's clock.
    changed_at: datetime
    #: Who asked for it.
    changed_by: str = ""

    @property
    def subject(self) -> str:
        """What changed, such as `limit/model/gpt-4`; its key in the log."""
        raise NotImplementedError

    @property
    def event_id(self) -> str:
        """The same change always has the same id."""
        return derived_uuid(f"{self.change_id}/{self.TYPE}/{self.subject}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategySelected(Change):
    """The waiting tasks of a resource class start in another order from now on."""

    TYPE: ClassVar[str] = "strategy.selected"

    resource_class: str
    #: Such as `priority` or `fair`.
    strategy: str
    #: A JSON object, such as `{"ageing_seconds": 30}`.
    options: str = "{}"

    @property
    def subject(self) -> str:
        """See `Change.subject`."""
        return f"strategy/{self.resource_class}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSet(Change):
    """How much may go on at once, or in a minute. Without any number, the limit is gone."""

    TYPE: ClassVar[str] = "limit.set"

    #: `class`, `model`, `provider`, `type`, `tenant` or `node`.
    scope: str
    name: str
    #: Attempts at a time.
    concurrency: int | None = None
    #: Attempts begun in a minute.
    requests_per_minute: int | None = None
    #: Prompt and answer together.
    tokens_per_minute: int | None = None

    @property
    def subject(self) -> str:
        """See `Change.subject`."""
        return f"limit/{self.scope}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchPaused(Change):
    """No task of a class, a model or a tenant starts until it is resumed; what runs goes on to its end."""

    TYPE: ClassVar[str] = "dispatch.paused"

    #: `class`, `model` or `tenant`.
    scope: str
    name: str
    #: Whoever paused it waits until nothing of it runs any more. Workers do the same either way.
    drain: bool = False
    reason: str = "requested"

    @property
    def subject(self) -> str:
        """See `Change.subject`."""
        return f"dispatch/{self.scope}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchResumed(Change):
    """Tasks of a class, a model or a tenant start again."""

    TYPE: ClassVar[str] = "dispatch.resumed"

    #: `class`, `model` or `tenant`.
    scope: str
    name: str
    reason: str = "requested"

    @property
    def subject(self) -> str:
        """See `Change.subject`."""
        return f"dispatch/{self.scope}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantWeighted(Change):
    """A tenant's share beside the others', where the strategy is fair; 1 is everybody's unless said."""

    TYPE: ClassVar[str] = "tenant.weighted"

    tenant: str
    weight: float

    @property
    def subject(self) -> str:
        """See `Change.subject`."""
        return f"tenant/{self.tenant}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDefined(Change):
    """A model is new, or is another one under its name."""

    TYPE: ClassVar[str] = "model.defined"

    name: str
    #: A JSON object; `schemas.models.ModelDefinition` says what it holds.
    definition: str

    @property
    def subject(self) -> str:
        """See `Change.subject`."""
        return f"model/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatusSet(Change):
    """A model went offline, so that its tasks wait, or came back."""

    TYPE: ClassVar[str] = "model.status_set"

    name: str
    #: `online` or `offline`.
    status: str
    reason: str = "requested"

    @property
    def subject(self) -> str:
        """See `Change.subject`."""
        return f"model/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRemoved(Change):
    """A model is no more; its name may be defined again."""

    TYPE: ClassVar[str] = "model.removed"

    name: str

    @property
    def subject(self) -> str:
        """See `Change.subject`."""
        return f"model/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderDefined(Change):
    """A provider's account is new, or is another one under its name."""

    TYPE: ClassVar[str] = "provider.defined"

    name: str
    #: A JSON object; `schemas.models.ProviderDefinition` says what it holds. Keys are references, never in clear.
    definition: str

    @property
    def subject(self) -> str:
        """See `Change.subject`."""
        return f"provider/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRemoved(Change):
    """A provider's account is no more; its name may be defined again."""

    TYPE: ClassVar[str] = "provider.removed"

    name: str

    @property
    def subject(self) -> str:
        """See `Change.subject`."""
        return f"provider/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleDefined(Change):
    """A task is submitted again and again, at the times of a cron expression."""

    TYPE: ClassVar[str] = "schedule.defined"

    schedule_id: str
    #: Five fields, as cron has them.
    cron: str
    #: The zone that `cron` is meant in, such as `Asia/Shanghai`.
    time_zone: str
    #: A JSON object: what is submitted each time.
    submission: str
    #: What becomes of times that passed while nobody was there: `none`, `last` or `all`.
    catch_up: str = "last"

    @property
    def subject(self) -> str:
        """See `Change.subject`."""
        return f"schedule/{self.schedule_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRemoved(Change):
    """A schedule is no more; tasks that it submitted stay."""

    TYPE: ClassVar[str] = "schedule.removed"

    schedule_id: str

    @property
    def subject(self) -> str:
        """See `Change.subject`."""
        return f"schedule/{self.schedule_id}"


#: Everything that can happen to the configuration.
ConfigurationEvent = (
    StrategySelected
    | LimitSet
    | DispatchPaused
    | DispatchResumed
    | TenantWeighted
    | ModelDefined
    | ModelStatusSet
    | ModelRemoved
    | ProviderDefined
    | ProviderRemoved
    | ScheduleDefined
    | ScheduleRemoved
)

CONFIGURATION_EVENTS: tuple[type[ConfigurationEvent], ...] = (
    StrategySelected,
    LimitSet,
    DispatchPaused,
    DispatchResumed,
    TenantWeighted,
    ModelDefined,
    ModelStatusSet,
    ModelRemoved,
    ProviderDefined,
    ProviderRemoved,
    ScheduleDefined,
    ScheduleRemoved,
)
