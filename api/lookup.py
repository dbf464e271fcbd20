"""Finding a task: a task that was accepted, here or by another process, is never told to be missing."""

from __future__ import annotations

from dataclasses import replace

from api.ports import ReadModel, TaskRow
from api.problems import OUTAGE_RETRY_SECONDS, READ_MODEL_UNAVAILABLE, TASK_NOT_FOUND, Problem
from api.recent import RecentTasks
from api.watermark import Watermark
from domain.task import filled_in


class Lookup:
    """The read model, and before it what this process has just accepted."""

    def __init__(
        self, read_model: ReadModel, recent: RecentTasks, watermark: Watermark, lag_seconds_max: float
    ) -> None:
        self._read_model = read_model
        self._recent = recent
        self._watermark = watermark
        self._lag_seconds_max = lag_seconds_max

    async def get(self, task_id: str) -> TaskRow:
        """The task as far as anyone knows.

        Raises:
            Problem: 404 once the read model has seen all there was when asked; 503 if it does not get there in time.
            ReadModelUnavailable, LogUnavailable: there is no telling.
        """
        row = await self.seen(task_id)
        if row is not None:
            return row
        passed = await self._watermark.passed(self._lag_seconds_max)
        row = await self._read_model.task(task_id)
        if row is not None:
            return row
        if passed:
            raise Problem(TASK_NOT_FOUND, f"there is no task {task_id}", task_id=task_id)
        raise Problem(
            READ_MODEL_UNAVAILABLE,
            f"the read model lags behind the log, which may hold task {task_id}; ask again",
            retry_after_seconds=OUTAGE_RETRY_SECONDS,
            task_id=task_id,
        )

    async def seen(self, task_id: str) -> TaskRow | None:
        """The task, if it is in the read model or was accepted here lately; the later run of the two."""
        row = await self._read_model.task(task_id)
        accepted = self._recent.get(task_id)
        if accepted is None:
            return row
        if row is None or row.state.run < accepted.state.run:
            return accepted
        if row.state.submission is None and row.state.run == accepted.state.run:
            # The projector has read what became of it before the record that says what it is.
            assert accepted.state.submission is not None, "what was accepted has a submission"
            state = filled_in(row.state, accepted.state.submission)
            return replace(row, state=state, type=accepted.type, tenant=accepted.tenant)
        self._recent.forget(task_id)
        return row
