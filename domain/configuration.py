"""What a running system is configured to do, folded from its settings and from the changes made since. Pure.

The settings give the first `Configuration`; every change in the topic `registry` is applied to it in the order of the
log, so that all processes agree, and what was said last counts.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, TypeVar, assert_never

from pydantic import ValidationError

from domain.holds import PAUSE_SCOPES
from domain.limits.limit import SCOPES, Limit
from domain.strategies.choice import InvalidChoice, StrategyChoice
from schemas import configuration as changes
from schemas.configuration import ConfigurationEvent
from schemas.models import ModelDefinition, ProviderDefinition

K = TypeVar("K")
V = TypeVar("V")

#: Models that the settings define are numbered from here on, by name; those that were defined since, from 1.
SETTINGS_NUMBERS_FROM: Final = 1_000_000_000


class InvalidChange(ValueError):
    """The change cannot be applied: it names or holds what this version does not know."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing of a class, a model or a tenant starts."""

    scope: str
    name: str
    drain: bool
    reason: str
    paused_at: datetime
    paused_by: str = ""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A task that is submitted again and again; `submission` is a JSON object."""

    schedule_id: str
    cron: str
    time_zone: str
    submission: str
    catch_up: str
    defined_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The configuration at one moment. A value: a change makes another one."""

    #: By resource class; see `strategy_of`.
    strategies: Mapping[str, StrategyChoice] = field(default_factory=dict)
    #: Limits that were set as such, by scope and name; see `limits`.
    set_limits: Mapping[tuple[str, str], Limit] = field(default_factory=dict)
    #: By scope and name; see `pause_of`.
    pauses: Mapping[tuple[str, str], Pause] = field(default_factory=dict)
    #: By tenant; see `weight_of`.
    weights: Mapping[str, float] = field(default_factory=dict)
    #: By name, each with its present status.
    models: Mapping[str, ModelDefinition] = field(default_factory=dict)
    #: By name.
    providers: Mapping[str, ProviderDefinition] = field(default_factory=dict)
    #: By id.
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    #: Numbers of the models that were ever defined by a change; a number is never given to another name.
    numbers: Mapping[str, int] = field(default_factory=dict)

    def strategy_of(self, resource_class: str) -> StrategyChoice:
        """How the class's waiting tasks are ordered."""
        return self.strategies.get(resource_class, _DEFAULT_STRATEGY)

    @property
    def limits(self) -> Mapping[tuple[str, str], Limit]:
        """Every limit that holds, by scope and name: those of models' and providers' definitions, and those set since.

        One that was set replaces the definition's altogether.
        """
        defined = {
            ("model", name): Limit(concurrency=model.max_workers)
            for name, model in self.models.items()
            if model.max_workers is not None
        }
        for name, provider in self.providers.items():
            given = provider.limits.model_dump()
            if any(value is not None for value in given.values()):
                defined["provider", name] = Limit(**given)
        return {**defined, **self.set_limits}

    def pause_of(self, resource_class: str, model: str | None, tenant: str) -> Pause | None:
        """What keeps such a task from starting, if anything does: its class before its model before its tenant."""
        if not self.pauses:
            return None
        for scope, name in (("class", resource_class), ("model", model), ("tenant", tenant)):
            if name is not None and (pause := self.pauses.get((scope, name))):
                return pause
        return None

    def online(self, model: str | None) -> bool:
        """Whether the model's tasks may start; one that nobody defined is as good as online."""
        definition = self.models.get(model or "")
        return definition is None or definition.status == "online"

    def weight_of(self, tenant: str) -> float:
        """The tenant's share beside the others'."""
        return self.weights.get(tenant, 1.0)

    def number_of(self, model: str) -> int:
        """The number that stands for a defined model's name."""
        return self.numbers.get(model) or SETTINGS_NUMBERS_FROM + zlib.crc32(model.encode())

    def model_named(self, reference: str) -> ModelDefinition | None:
        """The model of that name, or else of that number."""
        if found := self.models.get(reference):
            return found
        return next((model for name, model in self.models.items() if str(self.number_of(name)) == reference), None)


_DEFAULT_STRATEGY: Final = StrategyChoice()


def apply(configuration: Configuration, change: ConfigurationEvent) -> Configuration:
    """The configuration after a change; the same again where it changes nothing.

    Raises:
        InvalidChange: it was written by a newer version, or by somebody else.
    """
    now = configuration
    match change:
        case changes.StrategySelected(resource_class=name):
            return replace(
                now, strategies=_with(now.strategies, name, strategy_choice(change.strategy, change.options))
            )
        case changes.LimitSet():
            return replace(now, set_limits=_limited(now.set_limits, change))
        case changes.DispatchPaused():
            return replace(now, pauses=_with(now.pauses, (change.scope, change.name), _pause(change)))
        case changes.DispatchResumed(scope=scope, name=name):
            return replace(now, pauses=_without(now.pauses, (scope, name)))
        case changes.TenantWeighted(tenant=tenant, weight=weight):
            if not 0 < weight < float("inf"):
                raise InvalidChange(f"the weight of tenant {tenant!r} is {weight}, which is no share")
            return replace(now, weights=_with(now.weights, tenant, weight))
        case changes.ModelDefined(name=name, definition=definition):
            numbers = now.numbers if name in now.numbers else _with(now.numbers, name, len(now.numbers) + 1)
            return replace(now, models=_with(now.models, name, _model(name, definition)), numbers=numbers)
        case changes.ModelStatusSet(name=name, status=status):
            return replace(now, models=_with_status(now.models, name, status))
        case changes.ModelRemoved(name=name):
            return replace(now, models=_without(now.models, name))
        case changes.ProviderDefined(name=name, definition=definition):
            return replace(now, providers=_with(now.providers, name, _provider(name, definition)))
        case changes.ProviderRemoved(name=name):
            return replace(now, providers=_without(now.providers, name))
        case changes.ScheduleDefined(schedule_id=schedule_id):
            return replace(now, schedules=_with(now.schedules, schedule_id, _schedule(change)))
        case changes.ScheduleRemoved(schedule_id=schedule_id):
            return replace(now, schedules=_without(now.schedules, schedule_id))
        case _:
            assert_never(change)


def strategy_choice(name: str, options: str) -> StrategyChoice:
    """A strategy with its options, a JSON object, checked.

    Raises:
        InvalidChange: there is no such strategy or option.
    """
    try:
        given: Any = json.loads(options)
        if not isinstance(given, dict):
            raise InvalidChange(f"options of a strategy are a JSON object, not {options[:50]}")
        choice = StrategyChoice(name, given)
        choice.validated()
    except (InvalidChoice, ValueError) as error:
        raise InvalidChange(str(error)) from error
    return choice


def _limited(limits: Mapping[tuple[str, str], Limit], change: changes.LimitSet) -> Mapping[tuple[str, str], Limit]:
    if change.scope not in SCOPES:
        raise InvalidChange(f"there is no limit by {change.scope!r}: choose one of {', '.join(SCOPES)}")
    key = (change.scope, change.name)
    try:
        limit = Limit(
            concurrency=change.concurrency,
            requests_per_minute=change.requests_per_minute,
            tokens_per_minute=change.tokens_per_minute,
        )
    except ValueError as error:
        raise InvalidChange(f"the limit of {change.scope} {change.name}: {error}") from error
    return _with(limits, key, limit) if limit else _without(limits, key)


def _pause(change: changes.DispatchPaused) -> Pause:
    if change.scope not in PAUSE_SCOPES:
        raise InvalidChange(f"nothing is paused by {change.scope!r}: choose one of {', '.join(PAUSE_SCOPES)}")
    return Pause(change.scope, change.name, change.drain, change.reason, change.changed_at, change.changed_by)


def _schedule(change: changes.ScheduleDefined) -> Schedule:
    return Schedule(
        change.schedule_id, change.cron, change.time_zone, change.submission, change.catch_up, change.changed_at
    )


def _model(name: str, definition: str) -> ModelDefinition:
    try:
        return ModelDefinition.model_validate_json(definition)
    except ValidationError as error:
        raise InvalidChange(f"the definition of model {name!r} cannot be read: {_said(error)}") from error


def _provider(name: str, definition: str) -> ProviderDefinition:
    try:
        return ProviderDefinition.model_validate_json(definition)
    except ValidationError as error:
        raise InvalidChange(f"the definition of provider {name!r} cannot be read: {_said(error)}") from error


def _said(error: ValidationError) -> str:
    return "; ".join(f"{'/'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_input=False))


def _with_status(models: Mapping[str, ModelDefinition], name: str, status: str) -> Mapping[str, ModelDefinition]:
    if status not in ("online", "offline"):
        raise InvalidChange(f"the status of model {name!r} cannot be {status!r}: choose online or offline")
    # A model that the settings no longer define has no status either.
    return _with(models, name, models[name].model_copy(update={"status": status})) if name in models else models


def _with(values: Mapping[K, V], key: K, value: V) -> Mapping[K, V]:
    return {**values, key: value}


def _without(values: Mapping[K, V], key: K) -> Mapping[K, V]:
    return {known: value for known, value in values.items() if known != key}
