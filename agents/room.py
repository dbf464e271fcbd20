"""What a start needs of its worker beside a slot: memory, and its local model in it.

A model is loaded by the first task that would start on it: as a job beside the dispatcher, while the lanes that wait
for it are closed. Where memory lacks, models that nobody uses are unloaded; else lanes wait until an attempt ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from agents.engines.local_models import LocalModels
from agents.handlers.registry import Registry
from domain.errors import TaskError, UnknownTaskType
from domain.limits.memory import Memory, Need
from domain.limits.tickets import Refusal
from domain.provider_errors import MEMORY_EXCEEDED
from domain.strategies.strategy import LANES_REMEMBERED, Lane, Refuser
from domain.waits import MEMORY, MODEL_LOADING

_NOTHING: Final = Need()


class Room:
    """For one worker. Works within its event loop."""

    def __init__(self, registry: Registry, models: LocalModels, memory_mb: int | None = None) -> None:
        #: Told what refused tasks and may refuse no more.
        self.on_open: Callable[[Sequence[Refuser]], None] = lambda refusers: None
        self.memory = Memory(memory_mb)
        self._registry, self._models = registry, models
        self._needs: dict[Lane, Need] = {}
        #: What tasks were refused for, of which nobody was told yet that it may be over.
        self._refused: set[Refuser] = set()
        #: Models that are being loaded or unloaded.
        self._jobs: dict[str, asyncio.Task[None]] = {}
        #: Models whose last load failed: the next attempt meets the error itself.
        self._failed: set[str] = set()
        self._log = logging.getLogger(__name__)

    def refusal(self, lane: Lane) -> Refusal | None:
        """Why no task of the lane may start now. Nobody needs to ask again before `on_open` is told."""
        need = self._need(lane)
        if need is _NOTHING or not self.memory.possible(need):
            return None
        refusal = self._refusal(lane, need)
        if refusal is not None:
            self._refused.add(refusal.refuser)
        return refusal

    def impossible(self, lane: Lane) -> TaskError | None:
        """By what an attempt of the lane must fail: it would find no room in an empty worker either."""
        need = self._need(lane)
        if self.memory.possible(need):
            return None
        what = f"a task of type {lane.task_type}" + (f" on model {need.model}" if need.model else "")
        detail = f"{what} needs {need.total_mb} MB of memory, and a worker of its class has {self.memory.total_mb} MB"
        return TaskError(MEMORY_EXCEEDED, detail)

    def take(self, task_id: str, lane: Lane) -> None:
        """An attempt of the lane begins; `refusal` was None just now."""
        need = self._need(lane)
        if need is not _NOTHING and self.memory.possible(need):
            self._failed.discard(need.model)
            self.memory.begin(task_id, need)

    def put_back(self, task_id: str) -> None:
        """It is over."""
        if self.memory.end(task_id):
            self._open()

    def configure(self) -> None:
        """Models have changed; those that went were closed."""
        self._needs.clear()
        self._failed.clear()
        for model in self.memory.models:
            if model not in self._jobs and not self._models.opened(model):
                self.memory.unload(model)

    async def close(self) -> None:
        """Nothing is loaded any more."""
        for job in self._jobs.values():
            job.cancel()
        await asyncio.gather(*self._jobs.values(), return_exceptions=True)

    def _need(self, lane: Lane) -> Need:
        need = self._needs.get(lane)
        if need is None:
            if len(self._needs) >= LANES_REMEMBERED:
                self._needs.clear()
            need = self._needs[lane] = self._declared(lane)
        return need

    def _declared(self, lane: Lane) -> Need:
        try:
            handler = self._registry.get(lane.task_type)
        except UnknownTaskType:
            return _NOTHING
        attempt_mb = handler.memory_mb or 0
        # A task that names no model uses one where its work is counted in tokens.
        asks = handler.task_type.routed_by_model and (lane.model is not None or handler.task_type.tokens is not None)
        model = self._models.find(lane.model) if asks and lane.provider is None else None
        if model is not None:
            return Need(attempt_mb=attempt_mb, model=model.name, model_mb=model.memory_mb)
        return Need(attempt_mb=attempt_mb) if attempt_mb else _NOTHING

    def _refusal(self, lane: Lane, need: Need) -> Refusal | None:
        if need.model in self._jobs:
            return Refusal(MODEL_LOADING, "model", need.model)
        if not self.memory.fits(lane, need):
            for model in self.memory.idle(need):
                self._begin(model, self._unload(model))
            return Refusal(MEMORY, "model", need.model) if need.model else Refusal(MEMORY, "type", lane.task_type)
        if not need.model or self._models.loaded(need.model):
            return None
        if need.model in self._failed:
            return None
        self.memory.load(need.model, need.model_mb)
        self._begin(need.model, self._load(need.model))
        return Refusal(MODEL_LOADING, "model", need.model)

    def _begin(self, model: str, job: Coroutine[Any, Any, None]) -> None:
        if model in self._jobs:
            job.close()
            return
        task = self._jobs[model] = asyncio.get_running_loop().create_task(job)
        task.add_done_callback(lambda _: self._done(model))

    async def _load(self, model: str) -> None:
        try:
            await self._models.load(model)
        except Exception as error:
            # Whatever it is, the attempt that asks the model next meets it, and says so for its task.
            self._log.warning("model %s cannot be loaded: %s", model, error)
        if not self._models.loaded(model):
            self._failed.add(model)
        if not self._models.opened(model):
            self.memory.unload(model)

    async def _unload(self, model: str) -> None:
        self._log.info("model %s is unloaded: others need its memory", model)
        await self._models.unload(model)
        self.memory.unload(model)

    def _done(self, model: str) -> None:
        self._jobs.pop(model, None)
        self._open()

    def _open(self) -> None:
        refused = sorted(self._refused)
        self._refused.clear()
        if refused:
            self.on_open(refused)
