"""The read models as intake and held work ask for them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from projections.database import reading
from projections.held_tasks import due_held, held_among
from projections.queue_depth import backlog
from projections.tasks import known_task_ids
from streams.ports import HeldTask, QueueSnapshot


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
        """Held tasks of a class whose wait is over, the longest waiting first."""
        async with reading(self._engine) as connection:
            return await due_held(connection, resource_class, at, limit)

    async def held(self, task_ids: Collection[str]) -> Sequence[HeldTask]:
        """Those of the tasks that are held now."""
        async with reading(self._engine) as connection:
            return await held_among(connection, task_ids)
