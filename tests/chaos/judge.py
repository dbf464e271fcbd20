"""The verdict on a chaos run, from the log and the ledger alone: which promise did not hold, for which task. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from domain.errors import CorruptHistory
from domain.states import TERMINAL
from domain.task import TaskState, evolve
from schemas.events import TaskCompleted, TaskEvent, TaskStarted, TaskYielded
from tests.chaos.ledger import Execution
from tests.chaos.plan import STEPS


@dataclass(slots=True)
class Life:
    """What a task's facts add up to, and which of them counted."""

    task_id: str
    state: TaskState
    #: Terminal facts that counted, in order.
    ends: list[str] = field(default_factory=list)
    #: Starts that counted.
    starts: list[TaskStarted] = field(default_factory=list)
    #: Every start on record, whether it counted or not.
    recorded: set[tuple[int, int, int]] = field(default_factory=set)
    #: The completion that counted.
    completed: TaskCompleted | None = None
    corrupt: list[str] = field(default_factory=list)
    #: Facts on record that came too late to count.
    ignored: int = 0
    #: Attempts that ended at a checkpoint.
    yielded: int = 0


def live(task_id: str, facts: Iterable[TaskEvent]) -> Life:
    """Fold the facts one by one."""
    life = Life(task_id, TaskState(task_id=task_id))
    for fact in facts:
        if isinstance(fact, TaskStarted):
            life.recorded.add((fact.attempt, fact.epoch, worker_of(fact)))
        try:
            after = evolve(life.state, fact)
        except CorruptHistory as error:
            life.corrupt.append(str(error))
            continue
        if after is life.state:
            life.ignored += 1
            continue
        if after.status in TERMINAL and life.state.status not in TERMINAL:
            life.ends.append(str(after.status))
        if isinstance(fact, TaskStarted):
            life.starts.append(fact)
        life.yielded += isinstance(fact, TaskYielded)
        if isinstance(fact, TaskCompleted):
            life.completed = fact
        life.state = after
    return life


def worker_of(started: TaskStarted) -> int:
    """Process id of the worker that a start names."""
    return int(started.worker.rpartition("/")[2])


def judge(
    accepted: Mapping[str, frozenset[str]], lives: Mapping[str, Life], executions: Iterable[Execution]
) -> dict[str, list[str]]:
    """What is wrong, by promise; an empty list where the promise holds."""
    by_task: dict[str, list[Execution]] = {}
    for each in executions:
        by_task.setdefault(each.task_id, []).append(each)
    mine = [lives[task_id] for task_id in accepted if task_id in lives]
    return {
        "no task is lost": [f"task {task_id}: not in the log" for task_id in accepted if task_id not in lives],
        "one terminal state each": [text for life in mine if (text := _end(life, accepted[life.task_id]))],
        "no history is corrupt": [f"task {life.task_id}: {text}" for life in lives.values() for text in life.corrupt],
        "attempts are numbered 1, 2, 3": [text for life in mine if (text := _numbers(life))],
        "what counts is what the successor ran": [
            text for life in mine if (text := _result(life, by_task.get(life.task_id, ())))
        ],
        "no handler runs before its start is on record": [
            f"task {each.task_id}: [{each}]"
            for task_id, runs in by_task.items()
            for each in runs
            if task_id not in lives or (each.attempt, each.epoch, each.worker) not in lives[task_id].recorded
        ],
    }


def _end(life: Life, allowed: frozenset[str]) -> str | None:
    if len(life.ends) == 1 and life.ends[0] in allowed and life.state.terminal:
        return None
    why = f" ({life.state.error_code}: {life.state.error_detail})" if life.state.error_code else ""
    wanted = " or ".join(sorted(allowed))
    return f"task {life.task_id}: ended as {life.ends or 'nothing'}, is {life.state.status}{why}; wanted {wanted}"


def _numbers(life: Life) -> str | None:
    numbers = [start.attempt for start in life.starts]
    if numbers == list(range(1, len(numbers) + 1)):
        return None
    twice = [number for number, count in Counter(numbers).items() if count > 1]
    return f"task {life.task_id}: attempts {numbers}" + (f", {twice} more than once" if twice else "")


def _result(life: Life, executions: Iterable[Execution]) -> str | None:
    """A counted result stems from the execution of the last start that counted, never from a zombie's."""
    if life.completed is None:
        return None
    result = json.loads(life.completed.result)
    if result.get("steps", STEPS) != STEPS:
        return f"task {life.task_id}: of {STEPS} steps it took {result['steps']}, each once"
    token = result["execution"]
    ran = next((each for each in executions if each.execution == token), None)
    if ran is None:
        return f"task {life.task_id}: its result is of execution {token}, which the ledger does not know"
    last = life.starts[-1]
    if (ran.attempt, ran.epoch, ran.worker) == (last.attempt, last.epoch, worker_of(last)) and ran.how == "returned":
        return None
    return f"task {life.task_id}: result of [{ran}], but attempt {last.attempt} of epoch {last.epoch} had started last"
