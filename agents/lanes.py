"""Which lane a task waits in, and what its strategy may know of it."""

from __future__ import annotations

from agents.entries import Entry
from agents.handlers.registry import Registry
from domain.configuration import Configuration
from domain.errors import UnknownTaskType
from domain.strategies.strategy import Lane, Waiting, lane_of
from domain.tokens import task_cost


class Lanes:
    """For the workers of one class; models and their providers are as the configuration has them."""

    def __init__(
        self, registry: Registry, configuration: Configuration | None = None, *, endpoint: str | None = None
    ) -> None:
        """`endpoint` stands for the provider of models that nobody defined: the one endpoint of the settings."""
        self._registry, self._endpoint = registry, endpoint
        self._configuration = configuration or Configuration()

    def configure(self, configuration: Configuration) -> bool:
        """The configuration changed; whether waiting tasks may belong to other lanes because of it."""
        before, self._configuration = self._configuration, configuration
        return _providers(before) != _providers(configuration)

    def lane_of(self, entry: Entry) -> Lane:
        """All limits that apply to the task."""
        model = entry.state.model
        definition = self._configuration.models.get(model) if model is not None else None
        if definition is not None:
            provider = definition.provider
        else:
            provider = self._endpoint if self._uses_models(entry.submission.type) else None
        return lane_of(model, provider, entry.submission.type, entry.submission.tenant, entry.suspect)

    def view_of(self, entry: Entry, now_ms: int) -> Waiting:
        """The entry as strategies see it. A task that has begun keeps its deadline only while it is ahead."""
        submission = entry.submission
        accepted_ms, shard, offset = entry.place
        deadline_ms = None if submission.deadline_at is None else int(submission.deadline_at.timestamp() * 1000)
        if deadline_ms is not None and deadline_ms <= now_ms and entry.state.begun:
            deadline_ms = None
        return Waiting(
            task_id=entry.task_id,
            lane=self.lane_of(entry),
            priority=entry.priority,
            accepted_ms=accepted_ms,
            tie=(shard, offset),
            estimate_seconds=submission.estimated_seconds,
            cost=self._cost(submission.type, submission.payload),
            deadline_ms=deadline_ms,
            queued_ms=entry.queued_ms,
        )

    def _uses_models(self, task_type: str) -> bool:
        try:
            return self._registry.get(task_type).task_type.routed_by_model
        except UnknownTaskType:
            return False

    def _cost(self, task_type: str, payload: str) -> float:
        try:
            known = self._registry.get(task_type).task_type
        except UnknownTaskType:
            return 1.0
        return task_cost(known, payload)


def _providers(configuration: Configuration) -> dict[str, str | None]:
    return {name: model.provider for name, model in configuration.models.items()}
