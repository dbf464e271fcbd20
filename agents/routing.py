"""Where this worker's tasks go: asked when a task begins to wait, and when an attempt has failed.

Answers at once, from the configuration and from what has been measured; the rules are in `domain.routing`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from agents.handlers.registry import Registry
from agents.measurements import Measurements
from domain.configuration import Configuration
from domain.decide import Fail
from domain.errors import UnknownTaskType
from domain.provider_errors import LONG_RATE_LIMIT_SECONDS, another_may_help
from domain.routing import DEFAULT_BY, By, Market, NoRoute, Route, Wish, choose, fall_back
from domain.task import TaskState
from domain.tokens import task_need
from schemas.events import TaskSubmitted
from schemas.models import AUTO, ModelDefinition

#: How much of a failure's own words a reason repeats.
CAUSE_LENGTH_MAX: Final = 200
_WISHES: Final[dict[str, By]] = {"cost": "cost", "speed": "speed", "quality": "quality"}


class ModelRouter:
    """See `agents.departures.Router`. `clock` is in seconds since 1970."""

    def __init__(
        self,
        registry: Registry,
        measurements: Measurements,
        configuration: Configuration,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._registry, self._measurements, self._clock = registry, measurements, clock
        self._configuration = configuration
        #: How often it was configured.
        self.changes = 0

    def configure(self, configuration: Configuration) -> None:
        """Go by these models from now on."""
        self._configuration = configuration
        self.changes += 1

    def entering(self, submission: TaskSubmitted, state: TaskState) -> Route | None:
        """See `Router.entering`: a task for `auto` is given a model; one whose model is blocked goes on its chain."""
        model = self._configuration.models.get(state.model or "")
        if state.model == AUTO:
            return self._chosen(submission)
        if model is None or not self._chain(submission, model):
            return None
        if obstacle := self._obstacle(model):
            return self._next(submission, state, model, f"{model.name} is {obstacle}")
        return None

    def failed(self, submission: TaskSubmitted, state: TaskState, failure: Fail) -> Route | None:
        """See `Router.failed`: where another provider may heal the failure, the task goes on its chain.

        Of a model that has been removed, the chain has gone too: the task's own counts.
        """
        if state.model == AUTO:
            return self._chosen(submission)
        if state.model is None or not another_may_help(failure.code, failure.retry_after_seconds):
            return None
        waits = "" if failure.retry_after_seconds is None else f" for {failure.retry_after_seconds:g} s"
        cause = f"{state.model} failed: {failure.code}{waits}: {failure.detail}"
        return self._next(submission, state, self._configuration.models.get(state.model), cause[:CAUSE_LENGTH_MAX])

    def obstructed(self) -> frozenset[str]:
        """Models that nobody can be served by for a while; tasks that wait for them may be better off elsewhere."""
        return frozenset(name for name, model in self._configuration.models.items() if self._obstacle(model))

    def goes_elsewhere(self, submission: TaskSubmitted, state: TaskState) -> bool:
        """Whether a task that waits here would be sent on, if it began to wait now."""
        model = self._configuration.models.get(state.model or "")
        if state.model == AUTO:
            return bool(self._configuration.models)
        return model is not None and bool(self._chain(submission, model)) and self._obstacle(model) is not None

    def _chosen(self, submission: TaskSubmitted) -> Route | None:
        return self._sent(choose(self._wish(submission), self._market(submission), self._clock()))

    def _sent(self, route: Route | NoRoute) -> Route | None:
        if isinstance(route, NoRoute):
            return None
        self._measurements.sent(route.model)
        return route

    def _next(
        self, submission: TaskSubmitted, state: TaskState, model: ModelDefinition | None, cause: str
    ) -> Route | None:
        tried = {submission.model, state.model, *state.routed_to} - {None, AUTO}
        route = fall_back(
            self._chain(submission, model),
            self._wish(submission),
            self._market(submission),
            self._clock(),
            tried={name for name in tried if name is not None},
            cause=cause,
        )
        return self._sent(route)

    def _chain(self, submission: TaskSubmitted, model: ModelDefinition | None) -> tuple[str, ...]:
        """The task's own, else the model's, then that of the model that it was submitted for."""
        if submission.fallbacks:
            return submission.fallbacks
        own = model.fallbacks if model is not None else ()
        if submission.model == AUTO:
            return (*own, AUTO)
        first = self._configuration.models.get(submission.model or "")
        return (*own, *(first.fallbacks if first is not None else ()))

    def _obstacle(self, model: ModelDefinition) -> str | None:
        if model.status == "offline":
            return "offline"
        measurement = self._measurements.of(self._configuration.models)[model.name]
        wait = (measurement.blocked_until or 0.0) - self._clock()
        return f"{measurement.blocked_by or 'blocked'} for {wait:.1f} s" if wait >= LONG_RATE_LIMIT_SECONDS else None

    def _wish(self, submission: TaskSubmitted) -> Wish:
        try:
            need = task_need(self._registry.get(submission.type).task_type, submission.payload)
        except UnknownTaskType:
            need = None
        by = _WISHES.get(submission.route_by or DEFAULT_BY, DEFAULT_BY)
        return Wish(resource_class=submission.resource_class, by=by, need=need)

    def _market(self, submission: TaskSubmitted) -> Market:
        configuration = self._configuration

        def closed(model: ModelDefinition) -> str | None:
            pause = configuration.pause_of(submission.resource_class, model.name, submission.tenant)
            return None if pause is None or pause.scope != "model" else "paused"

        return Market(
            models=configuration.models,
            providers=configuration.providers,
            measurements=self._measurements.of(configuration.models),
            closed=closed,
        )
