"""A worker in a process of its own, so that it can be killed, frozen and stopped.

python -m tests.support.worker_main '{"bootstrap_servers": ..., "resource_class": ...}'
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from agents.context import TaskContext
from agents.handlers.registry import Registry
from agents.relocation import LagBound
from agents.worker import WorkerConfig, run_worker
from domain.errors import TaskError
from domain.retry import RetryPolicy
from tests.chaos.ledger import Noted

#: How often a task looks for the file that ends it.
LOOK_SECONDS = 0.1


class StepPayload(BaseModel):
    """What a scripted task does."""

    seconds: float = 0.0
    #: It goes on until this file exists, where one is named.
    until: str = ""
    #: `return`, `die` with the whole worker, or `later`: fail once, and ask for an hour's patience.
    then: str = "return"
    #: The file in which each execution is noted; none where it is empty.
    ledger: str = ""


async def step(payload: StepPayload, ctx: TaskContext) -> Mapping[str, object]:
    """Do as the payload says."""
    with Noted(payload.ledger, ctx, os.getpid()) if payload.ledger else nullcontext():
        await asyncio.sleep(payload.seconds)
        while payload.until and not Path(payload.until).exists():
            await asyncio.sleep(LOOK_SECONDS)
    if payload.then == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if payload.then == "later" and ctx.attempt == 1:
        raise TaskError("busy", "come back in an hour", retryable=True, retry_after_seconds=3600)
    return {"attempt": ctx.attempt, "pid": os.getpid()}


def registry_of(resource_class: str) -> Registry:
    """The scripted task type, in a class of the test's own."""
    registry = Registry()
    registry.handler("step", resource_class=resource_class, payload=StepPayload)(step)
    return registry


def config_of(bootstrap_servers: str, resource_class: str, **changes: Any) -> WorkerConfig:
    """A worker with the shortest session that a broker allows."""
    values: dict[str, Any] = {"slots": 4, "session_timeout_seconds": 6.0, "drain_seconds": 1.0}
    if lag := changes.pop("lag", None):
        changes["lag"] = LagBound(**lag)
    retry = RetryPolicy(delay_seconds=0.05)
    return WorkerConfig(
        bootstrap_servers=bootstrap_servers, resource_class=resource_class, retry=retry, **values | changes
    )


async def main(said: dict[str, Any]) -> None:
    """Work until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await run_worker(config_of(**said), registry_of(said["resource_class"]), stop)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    asyncio.run(main(json.loads(sys.argv[1])))
