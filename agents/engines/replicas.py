"""One model that several instances serve: each call goes to a well one, and an instance that fails is left out.

A call that an instance could not be reached for, or could not serve, goes to the next one, unless some of its text has
been heard already. Instances that are out are probed until they answer again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from agents.engines.text import Delta, DeltaSink, Generation, TextModel, TextRequest
from domain import provider_errors as codes
from domain.balancing import Balancer
from domain.errors import TaskError
from schemas.models import Balancing, HealthCheck

#: Failures of the instance, not of the call.
_FAULTS = codes.BREAKING | {codes.ENGINE_DIED}
#: Failures after which another instance may do better.
_ELSEWHERE = _FAULTS | {codes.RATE_LIMITED}

#: Whether an instance answers.
Probe = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Instance:
    """Serves the model, as one of several."""

    text: TextModel
    probe: Probe
    weight: int = 1


class Replicas:
    """A TextModel over several others, by name. For one event loop."""

    def __init__(self, model: str, instances: Mapping[str, Instance], policy: Balancing, health: HealthCheck) -> None:
        self.balancer = Balancer({name: each.weight for name, each in instances.items()}, policy, health)
        self._model, self._instances = model, instances
        self._probing: asyncio.Task[None] | None = None
        self._log = logging.getLogger(__name__)

    @property
    def resumable(self) -> bool:
        """Where all instances are: a text may go on at another one."""
        return all(each.text.resumable for each in self._instances.values())

    @property
    def texts(self) -> list[TextModel]:
        """Its instances."""
        return [each.text for each in self._instances.values()]

    async def generate(self, request: TextRequest, on_delta: DeltaSink) -> Generation:
        """See TextModel; adds TaskError `model_unavailable` while no instance is well."""
        failed: dict[str, TaskError] = {}
        heard = False

        async def hear(delta: Delta) -> None:
            nonlocal heard
            heard = True
            await on_delta(delta)

        while (name := self.balancer.take(without=failed)) is not None:
            try:
                generation = await self._instances[name].text.generate(request, hear)
            except TaskError as error:
                self._blame(name, error)
                if heard or error.code not in _ELSEWHERE:
                    raise
                failed[name] = error
            else:
                self.balancer.succeeded(name)
                return generation
            finally:
                self.balancer.release(name)
        raise self._nobody(failed)

    async def warm_up(self) -> None:
        """Start all instances; one that cannot start is left to the calls that need it."""
        outcomes = await asyncio.gather(
            *(each.text.warm_up() for each in self._instances.values()), return_exceptions=True
        )
        for name, outcome in zip(self._instances, outcomes, strict=True):
            if isinstance(outcome, TaskError):
                self._log.warning("instance %s cannot start: %s", name, outcome)
            elif isinstance(outcome, BaseException):
                raise outcome

    async def close(self) -> None:
        """Stop probing, and close every instance."""
        if self._probing is not None:
            self._probing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._probing
        await asyncio.gather(*(each.text.close() for each in self._instances.values()))

    def _blame(self, name: str, error: TaskError) -> None:
        if error.code not in _FAULTS:
            return
        self.balancer.failed(name, asyncio.get_running_loop().time())
        if name not in self.balancer.well() and (self._probing is None or self._probing.done()):
            self._log.warning("instance %s is left out until it answers: %s", name, error)
            self._probing = asyncio.create_task(self._probe_until_well())

    def _nobody(self, failed: Mapping[str, TaskError]) -> TaskError:
        if failed and (not self.balancer.well() or set(self.balancer.well()) <= failed.keys()):
            # What the last one said, if all were asked; a rate limit keeps its Retry-After.
            return list(failed.values())[-1]
        now, due = asyncio.get_running_loop().time(), self.balancer.next_probe_at()
        wait = max(0.0, due - now) if due is not None else None
        detail = f"none of the {len(self._instances)} instances of {self._model} is well"
        return TaskError(codes.NO_INSTANCE, detail, retryable=True, retry_after_seconds=wait)

    async def _probe_until_well(self) -> None:
        loop = asyncio.get_running_loop()
        while (due := self.balancer.next_probe_at()) is not None:
            await asyncio.sleep(max(0.0, due - loop.time()))
            names = self.balancer.due(loop.time())
            answers = await asyncio.gather(*(self._instances[name].probe() for name in names))
            for name, answered in zip(names, answers, strict=True):
                self.balancer.probed(name, answered, loop.time())
                if answered:
                    self._log.info("instance %s answers again", name)
