"""The read models as intake and held work ask for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from domain.dependencies import Dependency
from projections import dependants, held_tasks
from projections.database import reading
from projections.queue_depth import backlog
from projections.tasks import known_task_ids
from streams.ports import Dependant, HeldTask, QueueSnapshot, Step


class IntakeTasks:
    """Implements `streams.ports.IntakeReadModel` on a pool of connections."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def known(self, task_ids: Collection[str]) -> set[str]:
        """Those of the ids that are tasks already."""
        async with reading(self._engine) as connection:
            return await known_task_ids(connection, task_ids)

    async def queue(self) -> QueueSnapshot:
        """What waits now, in every class."""
        async with reading(self._engine) as connection:
            found = await backlog(connection)
            return QueueSnapshot(found.waiting, found.projected)

    async def due(self, resource_class: str, at: datetime, limit: int) -> Sequence[HeldTask]:
        """Held tasks of a class that wait for a time which has come, the longest waiting first."""
        async with reading(self._engine) as connection:
            return await held_tasks.due_held(connection, resource_class, at, limit)

    async def held_for(self, reasons: Collection[str], resource_class: str, limit: int) -> Sequence[HeldTask]:
        """Held tasks of a class with one of the reasons, the oldest first."""
        async with reading(self._engine) as connection:
            return await held_tasks.held_for(connection, reasons, resource_class, limit)

    async def hold_reasons(self) -> Sequence[str]:
        """What tasks are held for, each reason once."""
        async with reading(self._engine) as connection:
            return await held_tasks.hold_reasons(connection)

    async def expired(self, at: datetime, limit: int) -> Sequence[HeldTask]:
        """Held tasks whose deadline has passed."""
        async with reading(self._engine) as connection:
            return await held_tasks.expired_held(connection, at, limit)

    async def held(self, task_ids: Collection[str]) -> Sequence[HeldTask]:
        """Those of the tasks that are held now."""
        async with reading(self._engine) as connection:
            return await held_tasks.held_among(connection, task_ids)

    async def waiting(self, after: str, limit: int) -> Sequence[Dependant]:
        """So many of the tasks that wait for others, by task id, those behind `after`."""
        async with reading(self._engine) as connection:
            return await dependants.waiting(connection, after, limit)

    async def waiting_for(self, ended: Collection[str], limit: int) -> Sequence[Dependant]:
        """Tasks that wait for one of these."""
        async with reading(self._engine) as connection:
            return await dependants.waiting_for(connection, ended, limit)

    async def dependencies(self, task_ids: Collection[str]) -> Mapping[str, Dependency]:
        """How tasks are that others wait for; unknown ones are left out."""
        async with reading(self._engine) as connection:
            return await dependants.dependencies(connection, task_ids)

    async def results(self, task_ids: Collection[str]) -> Mapping[str, str]:
        """Results of those of the tasks that completed, as JSON texts."""
        async with reading(self._engine) as connection:
            return await dependants.results(connection, task_ids)

    async def unfinished_steps(self, after: str, limit: int) -> Sequence[Step]:
        """Unfinished steps that wait for no others, of workflows that a failing step stops: a page behind `after`."""
        async with reading(self._engine) as connection:
            return await dependants.unfinished_steps(connection, after, limit)

    async def failed_steps(self, workflow_ids: Collection[str]) -> Mapping[str, Dependency]:
        """The first step that did not complete, of each of the workflows that has any."""
        async with reading(self._engine) as connection:
            return await dependants.failed_steps(connection, workflow_ids)

    async def last_ticks(self, schedule_ids: Collection[str]) -> Mapping[str, str]:
        """Id of the latest task of each schedule that has any."""
        async with reading(self._engine) as connection:
            return await dependants.last_ticks(connection, schedule_ids)
