"""What the log says of a load: who waited from when, what was started when, and for how long it ran.

A fold over submissions and facts, in the log's order for each task. A visit is one time that a task waited and then
started; what waited and left without a start is a visit without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from domain.strategies.strategy import Lane, Waiting
from schemas import events
from schemas.events import TaskEvent, TaskSubmitted

#: Tokens that a task may use, as limits and fairness count them.
CostOf = Callable[[TaskSubmitted], float]
#: Whether tasks of a type can give their slot back.
Preemptible = Callable[[str], bool]

#: Broker time in milliseconds since 1970, partition, offset.
_Place = tuple[int, int, int]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TERMINAL = (events.TaskCompleted, events.TaskFailed, events.TaskCancelled, events.TaskRejected, events.TaskExpired)


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970: nothing is lost, as it would be in a float."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """One record of the log."""

    event: TaskEvent
    #: Broker time in milliseconds since 1970, partition, offset.
    timestamp_ms: int
    partition: int
    offset: int


@dataclass(slots=True, eq=False)
class Visit:
    """One wait of a task, and the attempt that ended it."""

    #: As its strategy saw it when it began to wait.
    task: Waiting
    run: int
    #: When it began to wait for its turn.
    arrives_us: int
    preemptible: bool = False
    started_us: int | None = None
    #: End of the attempt; for a visit without a start, when it left. None where the recording ends before.
    ended_us: int | None = None
    worker: str | None = None
    #: The strategy that chose it; None where older workers did not say.
    strategy: str | None = None
    #: Whether the task completed with this attempt.
    complete: bool = False
    #: Whether it gave its slot back when asked.
    yielded: bool = False
    tokens: float | None = None
    #: Changes of its priority while it waited.
    changes: list[tuple[int, int]] = field(default_factory=list)

    @property
    def priority(self) -> int:
        """The one that it started with."""
        return self.changes[-1][1] if self.changes else self.task.priority


@dataclass(slots=True, eq=False)
class _Course:
    """One run of a task, as far as it has been read."""

    task: Waiting
    run: int
    preemptible: bool
    #: When the log took it, by the broker's clock.
    accepted_us: int
    #: From when on it waits again, by its worker's clock; None until it has started once.
    again_us: int | None = None
    visits: list[Visit] = field(default_factory=list)
    #: The attempt that runs.
    active: Visit | None = None
    #: Whether it waits: not while it runs, is held, or after its end.
    waits: bool = True
    changes: list[tuple[int, int]] = field(default_factory=list)
    #: When it left its window to come back with another record, which gives it another place.
    left_us: int | None = None


class Recorder:
    """Folds records of one class. Submissions of a task and its facts may come in any order of the two topics."""

    def __init__(self, cost_of: CostOf, preemptible: Preemptible) -> None:
        self._cost_of, self._preemptible = cost_of, preemptible
        self._submissions: dict[tuple[str, int], list[tuple[_Place, TaskSubmitted]]] = {}
        self._facts: dict[tuple[str, int], list[TaskEvent]] = {}
        self._known: set[str] = set()

    def add(self, recorded: RecordedEvent) -> None:
        """One more record."""
        event = recorded.event
        key = (event.task_id, event.run)
        if isinstance(event, TaskSubmitted):
            place = (recorded.timestamp_ms, recorded.partition, recorded.offset)
            self._submissions.setdefault(key, []).append((place, event))
            self._known.add(event.task_id)
        else:
            self._facts.setdefault(key, []).append(event)

    def knows(self, task_id: str) -> bool:
        """Whether a submission of the task was read."""
        return task_id in self._known

    def visits(self) -> list[Visit]:
        """All visits of tasks whose submission was read, in the order in which they began."""
        found: list[Visit] = []
        for key, submissions in self._submissions.items():
            submissions.sort(key=lambda submission: submission[0])
            course = self._course(*submissions[0])
            for fact in self._facts.get(key, ()):
                if course.left_us is not None and isinstance(fact, events.TaskStarted):
                    _come_back(course, [place for place, _ in submissions])
                _follow(course, fact)
            if course.waits:
                course.visits.append(_visit(course))
            found += course.visits
        return sorted(found, key=lambda visit: (visit.arrives_us, visit.task.arrival))

    def _course(self, place: _Place, submission: TaskSubmitted) -> _Course:
        task = Waiting(
            task_id=submission.task_id,
            lane=Lane(submission.model, None, submission.type, submission.tenant),
            priority=submission.priority,
            accepted_ms=place[0],
            tie=place[1:],
            estimate_seconds=submission.estimated_seconds,
            cost=self._cost_of(submission),
            deadline_ms=None if submission.deadline_at is None else microseconds(submission.deadline_at) // 1000,
        )
        return _Course(task, submission.run, self._preemptible(submission.type), place[0] * 1000)


def recorded_visits(records: Iterable[RecordedEvent], cost_of: CostOf, preemptible: Preemptible) -> list[Visit]:
    """The visits of all tasks that the records tell of."""
    recorder = Recorder(cost_of, preemptible)
    for record in records:
        recorder.add(record)
    return recorder.visits()


def _follow(course: _Course, fact: TaskEvent) -> None:
    at_us = microseconds(fact.occurred_at)
    match fact:
        case events.TaskStarted():
            _start(course, fact, at_us)
        case events.TaskPriorityChanged():
            if course.waits:
                course.changes.append((at_us, fact.priority))
            else:
                course.task = replace(course.task, priority=fact.priority)
        case events.TaskRouted():
            course.task = replace(course.task, lane=replace(course.task.lane, model=fact.model))
            course.left_us = at_us
        case events.TaskHeld():
            course.waits, course.left_us = False, at_us
        case events.TaskRetryScheduled():
            _end(course, at_us)
            _wait_again(course, microseconds(fact.due_at), queued=True)
        case events.TaskYielded():
            if (ended := _end(course, at_us)) is not None:
                ended.yielded = True
            _wait_again(course, at_us, queued=True)
        case events.TaskReleased(due_at=datetime() as due_at):
            _end(course, at_us)
            _wait_again(course, microseconds(due_at), queued=False)
        case events.TaskReleased() | events.TaskAttemptLost():
            _end(course, at_us)
            _wait_again(course, at_us, queued=False)
        case _ if isinstance(fact, _TERMINAL):
            _finish(course, fact, at_us)
        case _:
            pass


def _come_back(course: _Course, places: list[_Place]) -> None:
    """The record that was appended after it left is the one that it came back with; copies made before do not count."""
    left_ms = (course.left_us or 0) // 1000
    course.left_us = None
    if (later := next((place for place in places if place[0] >= left_ms), None)) is not None:
        course.task = replace(course.task, accepted_ms=later[0], tie=later[1:])


def _start(course: _Course, fact: events.TaskStarted, at_us: int) -> None:
    if fact.model is not None and fact.model != course.task.lane.model:
        course.task = replace(course.task, lane=replace(course.task.lane, model=fact.model))
    visit = _visit(course)
    if fact.entered_at is not None:
        # The broker's clock may differ from the worker's, by which all else is told.
        visit.arrives_us = max(course.again_us or 0, microseconds(fact.entered_at))
    visit.arrives_us = min(visit.arrives_us, at_us)
    visit.started_us, visit.worker, visit.strategy = at_us, fact.worker, fact.strategy
    course.visits.append(visit)
    course.active, course.waits = visit, False


def _visit(course: _Course) -> Visit:
    task, changes = course.task, course.changes
    course.changes = []
    if changes:
        course.task = replace(course.task, priority=changes[-1][1])
    arrives_us = course.accepted_us if course.again_us is None else course.again_us
    return Visit(task, course.run, arrives_us, course.preemptible, changes=changes)


def _end(course: _Course, at_us: int) -> Visit | None:
    ended, course.active = course.active, None
    if ended is not None:
        ended.ended_us = at_us
    return ended


def _wait_again(course: _Course, since_us: int, *, queued: bool) -> None:
    """What waits by its own doing goes to the end of the line."""
    course.again_us, course.waits = since_us, True
    course.task = replace(course.task, queued_ms=since_us // 1000 if queued else 0)


def _finish(course: _Course, fact: TaskEvent, at_us: int) -> None:
    ended = _end(course, at_us)
    if ended is None and course.waits:
        ended = _visit(course)
        ended.ended_us = at_us
        course.visits.append(ended)
    course.waits = False
    if ended is not None and isinstance(fact, events.TaskCompleted):
        ended.complete = True
        counted = [fact.usage[name] for name in ("prompt_tokens", "completion_tokens") if name in fact.usage]
        ended.tokens = sum(counted) if counted else None
