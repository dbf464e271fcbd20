"""The tasks of a chaos run: each notes in the ledger that it ran. Named in the setting `handlers`."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel

from agents.context import Attempt, ProcessContext, TaskContext
from agents.handlers.registry import handler
from domain.errors import TaskError
from tests.chaos.ledger import Noted
from tests.chaos.plan import CLASS, STEPS


class Work(BaseModel):
    """What a task does."""

    ledger: str
    seconds: float = 0.0
    #: `fail_once` and `die_once` (with the whole worker) do so at the first attempt; `fail` at each.
    then: Literal["return", "fail", "fail_once", "die_once"] = "return"


@handler("chaos", resource_class=CLASS, payload=Work)
async def chaos(work: Work, ctx: TaskContext) -> Mapping[str, object]:
    """Work on the worker's own event loop."""
    with Noted(work.ledger, ctx, os.getpid()) as noted:
        await asyncio.sleep(work.seconds)
        if work.then == "die_once" and ctx.attempt == 1:
            noted.end("died")
            os.kill(os.getpid(), signal.SIGKILL)
        _fail(work, ctx)
    return {"execution": noted.execution}


@handler("chaos-process", resource_class=CLASS, payload=Work)
def chaos_process(work: Work, ctx: ProcessContext) -> Mapping[str, object]:
    """Work in an engine process."""
    with Noted(work.ledger, ctx, os.getppid()) as noted:
        time.sleep(work.seconds)
        _fail(work, ctx)
    return {"execution": noted.execution}


@handler("chaos-steps", resource_class=CLASS, payload=Work, preemptible=True)
async def chaos_steps(work: Work, ctx: TaskContext) -> Mapping[str, object]:
    """Work in steps; what was interrupted goes on behind its last checkpoint."""
    with Noted(work.ledger, ctx, os.getpid()) as noted:
        done = int(ctx.checkpointed or 0)
        while done < STEPS:
            await asyncio.sleep(work.seconds / STEPS)
            done += 1
            if done < STEPS:
                await ctx.checkpoint(done)
        _fail(work, ctx)
    return {"execution": noted.execution, "steps": done}


def _fail(work: Work, attempt: Attempt) -> None:
    if work.then == "fail":
        raise TaskError("chaos", "this task always fails", retryable=False)
    if work.then == "fail_once" and attempt.attempt == 1:
        raise TaskError("chaos", "the first attempt fails", retryable=True)
