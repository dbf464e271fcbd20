"""A worker without Faust: takes tasks off class topics and writes what an owner would write."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from domain import decide
from domain.task import TaskState, evolve
from schemas.codec import decode
from schemas.events import TaskSubmitted
from streams import history, topics
from streams.log import EventLog
from streams.state_header import state_said

EPOCH = 7
#: What becomes of a task, given its payload: a result, or an error to fail with.
Answer = Callable[[TaskSubmitted, dict[str, Any]], Any]


@dataclass
class Hands:
    """What was taken, in order, and how."""

    taken: list[TaskSubmitted] = field(default_factory=list)
    #: Runs that came more than once.
    repeats: list[str] = field(default_factory=list)

    def payload(self, task_id: str) -> Any:
        """With which a task came."""
        (found,) = [task for task in self.taken if task.task_id == task_id]
        return json.loads(found.payload)


@asynccontextmanager
async def working(kafka: str, classes: tuple[str, ...], wanted: str, answer: Answer) -> AsyncIterator[Hands]:
    """Work on the tasks of one tenant meanwhile."""
    hands = Hands()
    working = asyncio.create_task(_work(kafka, classes, wanted, answer, hands))
    try:
        yield hands
    finally:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working


async def _work(kafka: str, classes: tuple[str, ...], tenant: str, answer: Answer, hands: Hands) -> None:
    names = [name for name in topics.recorded_topics(classes) if name != topics.LIFECYCLE]
    seen: set[tuple[str, int]] = set()
    async with history.reader(kafka, names) as consumer, EventLog(kafka) as log:
        await consumer.seek_to_beginning()
        while True:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                for record in records:
                    task = decode(record.value)
                    if not isinstance(task, TaskSubmitted) or task.tenant != tenant:
                        continue
                    if (task.task_id, task.run) in seen:
                        hands.repeats.append(task.task_id)
                        continue
                    seen.add((task.task_id, task.run))
                    hands.taken.append(task)
                    await _play(log, task, dict(record.headers), answer)


async def _play(log: EventLog, task: TaskSubmitted, headers: dict[str, bytes], answer: Answer) -> None:
    state: TaskState = state_said(headers, task)
    at = datetime.now(UTC)
    result = answer(task, json.loads(task.payload))
    if isinstance(result, Exception):
        end: decide.OwnerCommand = decide.Fail(at=at, epoch=EPOCH, code="broken", detail=str(result), retryable=False)
    else:
        end = decide.Complete(at=at, epoch=EPOCH, result=json.dumps(result), duration_seconds=0.001)
    for command in (decide.Start(at=at, epoch=EPOCH, worker="hands"), end):
        for fact in decide.decide(command, state):
            await log.fact(fact)
            state = evolve(state, fact)
