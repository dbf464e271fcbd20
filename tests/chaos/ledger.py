"""What really ran: each execution of a handler notes its begin and its end in one file, which no process cleans up.

The file is the side effect that the chaos run counts. It knows nothing of Kafka: a line is written by one `write` to a
file opened for appending, so whoever is killed leaves whole lines.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agents.context import Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One run of a handler's body. Times are CLOCK_MONOTONIC, which all processes of the machine share."""

    execution: str
    task_id: str
    attempt: int
    epoch: int
    #: Process id of the worker that started it, and of the process that ran it: the worker itself, or an engine.
    worker: int
    process: int
    begun: float
    #: None while it was never seen to end.
    ended: float | None = None
    #: `returned`, `raised`, `stopped`, or `died`.
    how: str | None = None

    def __str__(self) -> str:
        end = "no end" if self.ended is None else f"{self.ended:.3f}"
        return (
            f"attempt {self.attempt}, epoch {self.epoch}, worker {self.worker}, "
            f"{self.begun:.3f} to {end} ({self.how or 'unknown'})"
        )


def note(path: str, **line: object) -> None:
    """Append one line."""
    said = {**line, "mono": time.monotonic(), "wall": time.time(), "pid": os.getpid()}
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, json.dumps(said, separators=(",", ":")).encode() + b"\n")
    finally:
        os.close(file)


class Noted:
    """Notes begin and end of one execution."""

    def __init__(self, path: str, attempt: Attempt, worker: int) -> None:
        self.execution = uuid.uuid4().hex
        self._path = path
        note(
            path,
            what="begin",
            execution=self.execution,
            task=attempt.task_id,
            attempt=attempt.attempt,
            epoch=attempt.epoch,
            worker=worker,
        )

    def __enter__(self) -> Noted:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.end("returned" if kind is None else "stopped" if kind is asyncio.CancelledError else "raised")

    def end(self, how: str) -> None:
        """The execution is over."""
        note(self._path, what=how, execution=self.execution)


def read(path: Path) -> list[Execution]:
    """Every execution, in the order in which they began."""
    found: dict[str, Execution] = {}
    for text in path.read_text().splitlines() if path.exists() else []:
        line = json.loads(text)
        if line["what"] == "begin":
            found[line["execution"]] = Execution(
                execution=line["execution"],
                task_id=line["task"],
                attempt=line["attempt"],
                epoch=line["epoch"],
                worker=line["worker"],
                process=line["pid"],
                begun=line["mono"],
            )
        else:
            begun = found[line["execution"]]
            found[line["execution"]] = replace(begun, ended=line["mono"], how=line["what"])
    return list(found.values())


def with_deaths(executions: Iterable[Execution], died_at: Mapping[int, float]) -> list[Execution]:
    """Executions whose process, or whose worker, died under them ended then."""

    def end(each: Execution) -> Execution:
        deaths = [died_at[pid] for pid in (each.process, each.worker) if pid in died_at]
        if each.ended is not None or not deaths:
            return each
        return replace(each, ended=max(each.begun, min(deaths)), how="died")

    return [end(each) for each in executions]


@dataclass(frozen=True, slots=True)
class Frozen:
    """A worker that stood still, by the monotonic clock."""

    worker: int
    since: float
    until: float


#: How long a worker may need, once it runs and the broker answers, to learn that its shards are another's.
GRACE_SECONDS = 15.0


def overlaps(
    executions: Iterable[Execution], freezes: Iterable[Frozen], *, grace_seconds: float = GRACE_SECONDS
) -> list[str]:
    """What ran at the same time and may not, in words; nothing where all is well.

    Never in one worker: no task runs twice there. In two: only a worker whose shard was taken over while it stood
    still or was cut off runs on, under a lower epoch than its successor's, and it stops within the grace after it
    woke up. The same holds for an attempt number that two workers began: the one of the lower epoch did so before it
    could know.
    """
    frozen = list(freezes)
    by_task: dict[str, list[Execution]] = {}
    for each in executions:
        by_task.setdefault(each.task_id, []).append(each)
    return [
        f"task {task_id}: {problem}: [{one}] and [{other}]"
        for task_id, runs in by_task.items()
        for one, other in itertools.combinations(runs, 2)
        if (problem := _problem(one, other, frozen, grace_seconds))
    ]


def _problem(one: Execution, other: Execution, frozen: list[Frozen], grace_seconds: float) -> str | None:
    old, new = sorted((one, other), key=lambda each: (each.epoch, each.attempt))
    both_until = min(_end(old), _end(new))
    together = both_until > max(old.begun, new.begun)
    if old.attempt == new.attempt and old.epoch == new.epoch:
        return "one attempt was begun twice under one epoch"
    if old.worker == new.worker:
        if old.attempt == new.attempt:
            return "one worker began an attempt twice"
        return "one worker ran the task twice at a time" if together else None
    if not together and old.attempt != new.attempt:
        return None
    if old.epoch == new.epoch:
        return "two workers ran the task under one epoch"
    if old.attempt == new.attempt and old.begun < new.begun and not together:
        return "an attempt number was given again"
    woke = max([each.until for each in frozen if each.worker == old.worker and each.since <= both_until], default=0.0)
    if both_until <= max(new.begun, woke) + grace_seconds:
        return None
    return "a fenced worker went on"


def _end(execution: Execution) -> float:
    return float("inf") if execution.ended is None else execution.ended
