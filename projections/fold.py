"""From a batch of recorded facts to what changes in every read model. Pure.

The result is the same however the log is cut into batches and however its partitions are interleaved: see
`projections.runs` for the rules that make it so. Nothing here raises on a record, however odd: what cannot be folded
becomes an anomaly, and the records behind it go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from domain.errors import CorruptHistory
from projections import attempts, daily_statistics, history
from projections.anomalies import Finding, finding
from projections.attempts import Closed, Opened
from projections.daily_statistics import Cell
from projections.history import Line
from projections.position import Position
from projections.queue_depth import Depth, depth_of
from projections.runs import Run, lived, submitted
from schemas.codec import UndecodableRecord, decode
from schemas.events import TASK_EVENTS, LifecycleEvent, TaskEvent, TaskSubmitted
from streams import topics

#: Larger ids cannot be indexed; doors accept 200.
TASK_ID_BYTES_MAX = 500

#: All runs of one task that any fact has spoken of, by number.
Runs = Mapping[int, Run]


class Recorded(NamedTuple):
    """A fact, the bytes that carried it, and where they lie."""

    fact: TaskEvent
    record: bytes
    position: Position


@dataclass(slots=True)
class AttemptChange:
    """What a batch tells of one attempt; its start may have been written before."""

    opened: Opened | None = None
    closed: Closed | None = None


@dataclass(slots=True)
class Changes:
    """What a batch changes: rows to write, and differences to add."""

    #: Every run of every task touched, after the batch.
    tasks: dict[str, dict[int, Run]] = field(default_factory=dict)
    #: Runs whose row differs now, by task id and run, and whether their submission does too.
    runs: dict[tuple[str, int], bool] = field(default_factory=dict)
    attempts: dict[attempts.Key, AttemptChange] = field(default_factory=dict)
    history: dict[str, Line] = field(default_factory=dict)
    depths: Counter[Depth] = field(default_factory=Counter)
    statistics: Counter[Cell] = field(default_factory=Counter)
    anomalies: list[Finding] = field(default_factory=list)
    #: Tasks that reached a terminal state.
    ended: list[str] = field(default_factory=list)


def read(record: bytes | None, position: Position) -> Recorded | Finding:
    """The fact that a record holds, or why it holds none that can be folded."""
    try:
        fact = decode(record or b"")
    except UndecodableRecord as error:
        return finding(position, str(error))
    except Exception as error:  # whatever the bytes set off in the codec, the records behind them must go on
        return finding(position, f"{type(error).__name__}: {error}")
    if not isinstance(fact, TASK_EVENTS):
        return finding(position, f"{fact.TYPE} is no fact and does not belong on this topic")
    if "\0" in fact.task_id or not 0 < len(fact.task_id.encode()) <= TASK_ID_BYTES_MAX:
        return finding(position, f"a task id must have 1 to {TASK_ID_BYTES_MAX} bytes and no NUL", fact)
    if position.topic != topics.LIFECYCLE and not isinstance(fact, TaskSubmitted):
        # Its order among the task's other facts would depend on which topic is read first.
        return finding(position, f"{fact.TYPE} belongs on {topics.LIFECYCLE}", fact)
    return Recorded(fact, record or b"", position)


def fold(batch: Iterable[Recorded | Finding], loaded: Mapping[str, Runs]) -> Changes:
    """What a batch changes, given all runs of the tasks that it touches as they are now; unknown tasks are absent."""
    changes = Changes()
    for item in batch:
        if isinstance(item, Finding):
            changes.anomalies.append(item)
            continue
        runs = changes.tasks.setdefault(item.fact.task_id, dict(loaded.get(item.fact.task_id, {})))
        accepted = _take(changes, runs, item)
        line = history.line_of(item.fact, item.position, accepted=accepted)
        known = changes.history.get(line.event_id)
        changes.history[line.event_id] = line if known is None else history.merged(known, line)
    for task_id, runs in changes.tasks.items():
        _compare(changes, task_id, loaded.get(task_id, {}), runs)
    return changes


def _take(changes: Changes, runs: dict[int, Run], item: Recorded) -> bool:
    """Fold one fact into its run; whether it had an effect."""
    fact, record, position = item
    before = runs.get(fact.run)
    if isinstance(fact, TaskSubmitted):
        runs[fact.run] = submitted(before, fact, record, position)
        return True
    try:
        after = lived(before, fact, position)
    except (CorruptHistory, UndecodableRecord) as error:
        changes.anomalies.append(finding(position, str(error), fact))
        return False
    if after is None or after is before:
        return False
    runs[fact.run] = after
    _note_attempts(changes, before, after, fact)
    return True


def _note_attempts(changes: Changes, before: Run | None, after: Run, fact: LifecycleEvent) -> None:
    for key, told in attempts.changes(before, after, fact):
        if isinstance(told, Opened):
            changes.attempts[key] = AttemptChange(opened=told)
        else:
            changes.attempts.setdefault(key, AttemptChange()).closed = told


def _compare(changes: Changes, task_id: str, before: Runs, after: Runs) -> None:
    """Note which rows of a task differ, and what that means for the numbers."""
    if not after:
        return
    for number, run in after.items():
        known = before.get(number)
        if known is not run:
            described = known is None or known.submission_position != run.submission_position
            changes.runs[task_id, number] = described
            changes.statistics.update(daily_statistics.changes(known, run))
    latest_before, latest = max(before, default=None), max(after)
    if latest_before is not None and latest_before != latest:
        changes.runs.setdefault((task_id, latest_before), False)
    changes.depths[depth_of(after[latest])] += 1
    if latest_before is not None:
        changes.depths[depth_of(before[latest_before])] -= 1
    was_terminal = latest == latest_before and before[latest].state.terminal
    if after[latest].state.terminal and not was_terminal:
        changes.ended.append(task_id)
