"""A read model in memory, folded from the log in memory when a test asks, or left behind where it says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from api.ports import TaskFilter, TaskRow
from domain import holds
from domain.dependencies import Dependency
from domain.dispatch_status import Dispatcher
from domain.line import Line, Within
from domain.states import TERMINAL, TaskStatus
from domain.strategies.estimates import Kind
from domain.task import TaskState, evolve
from projections.history import HistoryEntry
from projections.offsets import Progress
from projections.queue_depth import QUEUED
from projections.selection import Selected, Selection
from projections.workflows import StepRow
from schemas.events import TaskEvent, TaskHeld, TaskRejected
from streams import topics
from streams.ports import Dependant, HeldTask, QueueSnapshot, ReadModelUnavailable, Step

if TYPE_CHECKING:
    from tests.support.memory_world import MemoryLog


def _step_row(row: TaskRow) -> StepRow:
    state, submission = row.state, row.state.submission
    assert submission is not None, "only described tasks are asked for"
    assert state.status is not None, "a state exists only after a fact"
    return StepRow(
        task_id=state.task_id,
        run=state.run,
        workflow_id=submission.workflow_id,
        status=state.status,
        type=submission.type,
        tenant=submission.tenant,
        attempt=state.attempt,
        depends_on=submission.depends_on,
        on_dependency_failure=submission.on_dependency_failure,
        error_code=state.error_code,
        error_detail=state.error_detail,
        created_at=submission.occurred_at,
        started_at=state.started_at,
        finished_at=state.finished_at,
    )


def topics_of_class(name: str) -> bool:
    """Whether a topic carries submissions."""
    return name.startswith("tasks-") and name not in (topics.INTAKE, topics.DEAD_LETTERS)


@dataclass
class MemoryReadModel:
    """Implements `api.ports.ReadModel` and `streams.ports.IntakeReadModel` by folding the memory log on demand."""

    log: MemoryLog
    down: bool = False
    #: A projector that runs folds before each answer; one that does not shows what it had.
    projecting: bool = True
    states: dict[str, TaskState] = field(default_factory=dict)
    rejected: dict[str, TaskRejected] = field(default_factory=dict)
    seen_at: datetime | None = field(default_factory=lambda: datetime.now(UTC))
    calls: Counter[str] = field(default_factory=Counter)
    lines: dict[str, Line] = field(default_factory=dict)
    workers: list[Dispatcher] = field(default_factory=list)
    _offsets: dict[str, int] = field(default_factory=dict)

    def project(self) -> None:
        """Fold what the log holds."""
        for topic, records in self.log.records.items():
            if topics_of_class(topic) or topic == topics.LIFECYCLE:
                for event in records[self._offsets.get(topic, 0) :]:
                    self.fold(event)
                self._offsets[topic] = len(records)

    def fold(self, event: TaskEvent) -> None:
        """The read model has seen the event."""
        if isinstance(event, TaskRejected):
            self.rejected[event.task_id] = event
        state = self.states.get(event.task_id, TaskState(task_id=event.task_id))
        self.states[event.task_id] = evolve(state, event)

    def _asked(self, name: str) -> None:
        self.calls[name] += 1
        if self.down:
            raise ReadModelUnavailable("PostgreSQL is away")
        if self.projecting:
            self.project()

    async def task(self, task_id: str) -> TaskRow | None:
        """The task."""
        self._asked("task")
        state = self.states.get(task_id)
        return None if state is None else self._row(state)

    def _row(self, state: TaskState) -> TaskRow:
        source = state.submission or self.rejected.get(state.task_id)
        return TaskRow(state=state, type=source.type if source else None, tenant=source.tenant if source else None)

    async def tasks(self, wanted: TaskFilter, *, page: int, page_size: int) -> tuple[int, Sequence[TaskRow]]:
        """One page."""
        self._asked("tasks")
        rows = [
            row
            for row in map(self._row, reversed(self.states.values()))
            if (wanted.statuses is None or row.state.status in wanted.statuses)
            and wanted.type in (None, row.type)
            and wanted.tenant in (None, row.tenant)
        ]
        return len(rows), rows[(page - 1) * page_size : page * page_size]

    async def history(self, task_id: str) -> Sequence[HistoryEntry]:
        """No history in memory: the real read model has its own tests."""
        self._asked("history")
        return []

    async def terminal(self, task_ids: Collection[str]) -> set[str]:
        """Those that have ended."""
        self._asked("terminal")
        return {task_id for task_id in task_ids if task_id in self.states and self.states[task_id].status in TERMINAL}

    async def selection(self, wanted: Selection, *, after: str, limit: int) -> Sequence[Selected]:
        """So many of those that match."""
        self._asked("selection")
        return [each for each in self._selected(wanted) if each.task_id > after][:limit]

    async def selected(self, wanted: Selection) -> int:
        """How many match."""
        self._asked("selected")
        return len(self._selected(wanted))

    def _selected(self, wanted: Selection) -> list[Selected]:
        return [
            Selected(state.task_id, state.run, state.status)
            for _, state in sorted(self.states.items())
            if (source := state.submission) and state.status is not None and state.status not in TERMINAL
            if wanted.statuses is None or state.status in wanted.statuses
            if wanted.type in (None, source.type)
            if wanted.tenant in (None, source.tenant)
            if wanted.model in (None, source.model)
            if wanted.priority in (None, state.priority)
            if wanted.created_before is None or source.occurred_at < wanted.created_before
        ]

    async def line(self, task_id: str, strategy: str, seconds: Mapping[Kind, float], within: Within) -> Line | None:
        """As the test says."""
        self._asked("line")
        return self.lines.get(task_id)

    async def dispatchers(self, resource_classes: Collection[str]) -> Sequence[Dispatcher]:
        """As the test says."""
        self._asked("dispatchers")
        return [worker for worker in self.workers if worker.resource_class in resource_classes]

    async def queue(self) -> QueueSnapshot:
        """What waits."""
        self._asked("queue")
        waiting = Counter(
            state.submission.resource_class
            for state in self.states.values()
            if state.submission and state.status in QUEUED
        )
        return QueueSnapshot(waiting, {(topic, 0): offset for topic, offset in self._offsets.items()})

    async def projected(self) -> Mapping[tuple[str, int], int]:
        """Up to where the log was folded."""
        self._asked("projected")
        return {(topic, 0): offset for topic, offset in self._offsets.items()}

    async def progress(self) -> Progress | None:
        """A sign of life, as old as the test says."""
        self._asked("progress")
        return None if self.seen_at is None else Progress(self.seen_at, 0)

    async def known(self, task_ids: Collection[str]) -> set[str]:
        """Those that are tasks."""
        self._asked("known")
        return set(task_ids) & set(self.states)

    async def due(self, resource_class: str, at: datetime, limit: int) -> Sequence[HeldTask]:
        """Held tasks of a class that are due."""
        self._asked("due")
        found = [
            task
            for task in self._held(resource_class)
            if task.reason in (holds.RUN_AT, holds.QUEUE_FULL) and (task.state.due_at or at) <= at and not task.released
        ]
        return sorted(found, key=lambda task: task.state.due_at or at)[:limit]

    async def steps(self, workflow_id: str, task_ids: Collection[str] = ()) -> Sequence[StepRow]:
        """The tasks of a workflow, and those that have one of the ids."""
        self._asked("steps")
        return [
            _step_row(self._row(state))
            for state in self.states.values()
            if state.submission and (state.submission.workflow_id == workflow_id or state.task_id in task_ids)
        ]

    async def held_for(self, reasons: Collection[str], resource_class: str, limit: int) -> Sequence[HeldTask]:
        """Held tasks of a class with one of the reasons."""
        self._asked("held_for")
        return [task for task in self._held(resource_class) if task.reason in reasons and not task.released][:limit]

    async def hold_reasons(self) -> Sequence[str]:
        """What tasks are held for."""
        self._asked("hold_reasons")
        return sorted({task.reason for task in self._held()})

    async def expired(self, at: datetime, limit: int) -> Sequence[HeldTask]:
        """Held tasks whose deadline has passed."""
        self._asked("expired")
        return [task for task in self._held() if task.submitted.deadline_at and task.submitted.deadline_at <= at]

    async def held(self, task_ids: Collection[str]) -> Sequence[HeldTask]:
        """Those that are held."""
        self._asked("held")
        return [task for task in self._held() if task.task_id in task_ids]

    async def waiting(self, after: str, limit: int) -> Sequence[Dependant]:
        """A page of those that wait for others."""
        self._asked("waiting")
        found = sorted(self._dependants(), key=lambda task: task.task_id)
        return [task for task in found if task.task_id > after][:limit]

    async def waiting_for(self, ended: Collection[str], limit: int) -> Sequence[Dependant]:
        """Those that wait for one of these."""
        self._asked("waiting_for")
        return [task for task in self._dependants() if set(task.depends_on) & set(ended)][:limit]

    async def dependencies(self, task_ids: Collection[str]) -> Mapping[str, Dependency]:
        """How tasks are that others wait for."""
        self._asked("dependencies")
        return {task_id: self._dependency(self.states[task_id]) for task_id in task_ids if task_id in self.states}

    async def results(self, task_ids: Collection[str]) -> Mapping[str, str]:
        """Results of those that completed."""
        self._asked("results")
        found = {task_id: self.states[task_id].result for task_id in task_ids if task_id in self.states}
        return {task_id: result for task_id, result in found.items() if result is not None}

    async def unfinished_steps(self, after: str, limit: int) -> Sequence[Step]:
        """Unfinished steps of workflows that fail fast."""
        self._asked("unfinished_steps")
        waiting = {task.task_id for task in self._dependants()}
        return [
            Step(state.task_id, state.run, state.submission.workflow_id)
            for state in self.states.values()
            if state.submission and state.submission.workflow_id and not state.terminal
            if state.submission.on_dependency_failure == "fail_fast" and state.task_id not in waiting and state.run == 1
        ]

    async def failed_steps(self, workflow_ids: Collection[str]) -> Mapping[str, Dependency]:
        """The first step that did not complete."""
        self._asked("failed_steps")
        return {
            state.submission.workflow_id: self._dependency(state)
            for state in reversed(self.states.values())
            if state.terminal and state.status is not TaskStatus.COMPLETED
            if state.submission and state.submission.workflow_id and state.submission.workflow_id in workflow_ids
        }

    async def last_ticks(self, schedule_ids: Collection[str]) -> Mapping[str, str]:
        """The latest task of each schedule."""
        self._asked("last_ticks")
        found: dict[str, str] = {}
        for state in self.states.values():
            schedule_id = state.submission.schedule_id if state.submission else None
            if schedule_id is not None and schedule_id in schedule_ids:
                found[schedule_id] = max(found.get(schedule_id, ""), state.task_id)
        return found

    def _dependency(self, state: TaskState) -> Dependency:
        assert state.status is not None, "a state exists only after a fact"
        return Dependency(state.task_id, state.status, state.error_code, state.error_detail)

    def _dependants(self) -> list[Dependant]:
        return [
            Dependant(
                task_id=task.task_id,
                run=task.run,
                resource_class=task.submitted.resource_class,
                depends_on=task.submitted.depends_on,
                on_dependency_failure=task.submitted.on_dependency_failure,
                workflow_id=task.submitted.workflow_id,
                until=task.state.due_at,
            )
            for task in self._held()
            if task.reason == holds.DEPENDENCIES and not task.released
        ]

    def _released(self, task_id: str) -> bool:
        """Whether the log took the submission again after the last hold."""
        taken = [task for task in self.log.submissions if task.task_id == task_id]
        held = {fact.event_id: fact for fact in self.log.records[topics.LIFECYCLE] if isinstance(fact, TaskHeld)}
        mine = [fact for fact in held.values() if fact.task_id == task_id]
        # What its owner has put aside was on the topic before.
        return len(taken) - bool(mine[0].epoch) >= len(mine)

    def _held(self, resource_class: str | None = None) -> list[HeldTask]:
        latest = {hold.task_id: hold for hold in self.log.records[topics.LIFECYCLE] if isinstance(hold, TaskHeld)}
        return [
            HeldTask(state=state, reason=hold.reason, submission=hold.submission, released=self._released(hold.task_id))
            for hold in latest.values()
            if (state := self.states.get(hold.task_id)) and state.status is TaskStatus.HELD and state.submission
            if resource_class in (None, state.submission.resource_class)
        ]
