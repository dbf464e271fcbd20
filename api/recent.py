"""What this process accepted lately, so that it can be read before the projector has seen it."""

from __future__ import annotations

from collections import OrderedDict

from api.ports import TaskRow
from domain.states import TaskStatus
from domain.task import TaskState
from schemas.events import TaskSubmitted

TASKS_MAX = 20_000
BYTES_MAX = 64 * 1024 * 1024


class RecentTasks:
    """Bounded in number and in bytes; what falls out is found by waiting for the projector."""

    def __init__(self, tasks_max: int = TASKS_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._tasks_max, self._bytes_max = tasks_max, bytes_max
        self._rows: OrderedDict[str, TaskRow] = OrderedDict()
        self._bytes = 0

    def remember(self, submission: TaskSubmitted) -> TaskRow:
        """The accepted task as it reads now."""
        row = accepted_row(submission)
        self.forget(submission.task_id)
        self._rows[submission.task_id] = row
        self._bytes += _size(row)
        while len(self._rows) > self._tasks_max or self._bytes > self._bytes_max:
            self.forget(next(iter(self._rows)))
        return row

    def get(self, task_id: str) -> TaskRow | None:
        """The task as it was accepted, if it was lately."""
        return self._rows.get(task_id)

    def forget(self, task_id: str) -> None:
        """The read model has it now."""
        row = self._rows.pop(task_id, None)
        if row is not None:
            self._bytes -= _size(row)


def accepted_row(submission: TaskSubmitted) -> TaskRow:
    """A task that the log has taken and nobody has looked at yet."""
    # One of a higher sequence has the results that it waited for.
    waits = submission.run_at is not None or bool(submission.depends_on and not submission.sequence)
    state = TaskState(
        task_id=submission.task_id,
        status=TaskStatus.HELD if waits else TaskStatus.SUBMITTED,
        run=submission.run,
        attempt=submission.attempts_before,
        submission=submission,
        due_at=submission.run_at,
        submitted_at=submission.occurred_at,
    )
    return TaskRow(state=state, type=submission.type, tenant=submission.tenant)


def _size(row: TaskRow) -> int:
    assert row.state.submission is not None, "what was accepted has a submission"
    return len(row.state.submission.payload) + len(row.state.submission.metadata) + 1000
