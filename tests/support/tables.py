"""The read models in memory: what the writer must make of the fold's changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from projections import history
from projections.anomalies import Finding
from projections.daily_statistics import Cell
from projections.fold import Changes, Recorded, fold
from projections.queue_depth import Depth
from projections.runs import Run
from projections.tasks import row_of


class Tables:
    """What the writer keeps in PostgreSQL, kept in memory."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[int, Run]] = {}
        self.attempts: dict[Any, list[Any]] = {}
        self.history: dict[str, history.Line] = {}
        self.depths: Counter[Depth] = Counter()
        self.statistics: Counter[Cell] = Counter()
        self.anomalies: dict[Any, Finding] = {}
        self.ended: list[str] = []

    def project(self, batch: Sequence[Recorded]) -> Changes:
        changes = fold(batch, {each.fact.task_id: self.runs.get(each.fact.task_id, {}) for each in batch})
        for task_id, number in changes.runs:
            self.runs.setdefault(task_id, {})[number] = changes.tasks[task_id][number]
        for key, change in changes.attempts.items():
            if change.opened is not None:
                self.attempts[key] = [change.opened, change.closed]
            elif key in self.attempts:
                self.attempts[key][1] = change.closed
        for event_id, line in changes.history.items():
            known = self.history.get(event_id)
            self.history[event_id] = line if known is None else history.merged(known, line)
        self.depths.update(changes.depths)
        self.statistics.update(changes.statistics)
        self.anomalies |= {each[:3]: each for each in changes.anomalies}
        self.ended += changes.ended
        return changes

    def rows(self) -> Mapping[str, Any]:
        return {
            "tasks": {
                (task_id, number): row_of(run, latest=number == max(runs))
                for task_id, runs in self.runs.items()
                for number, run in runs.items()
            },
            "attempts": self.attempts,
            "history": self.history,
            "queue_depth": {key: count for key, count in self.depths.items() if count},
            "daily_statistics": {key: count for key, count in self.statistics.items() if count},
            "anomalies": self.anomalies,
        }


def projected(batches: Iterable[Sequence[Recorded]]) -> Tables:
    tables = Tables()
    for batch in batches:
        tables.project(batch)
    return tables
