"""The read models as the API asks for them, each question bounded in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import psycopg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from api.batched import Batched
from api.ports import TaskFilter, TaskRow
from domain.dispatch_status import Dispatcher
from domain.line import Line, Within
from domain.states import TERMINAL
from domain.strategies.estimates import Kind
from projections import database, dispatchers, history, line, offsets, queue_depth, selection, tasks, workflows
from projections.history import HistoryEntry
from projections.offsets import Progress
from projections.selection import Selected, Selection
from projections.tasks import TaskView
from projections.workflows import StepRow
from streams.cluster import Offsets
from streams.ports import QueueSnapshot, ReadModelUnavailable

QUERY_TIMEOUT_SECONDS = 10.0
RECONNECT_SECONDS = 1.0
#: Tasks looked up by one query; each may carry a payload and a result of a megabyte.
LOOK_UPS_MAX = 50


class SqlReadModel:
    """Implements `api.ports.ReadModel` on a pool of connections, which mends itself after an outage."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._task = Batched(self._views, LOOK_UPS_MAX)

    async def task(self, task_id: str) -> TaskRow | None:
        """The task, if the projector has seen it."""
        view = await self._task(task_id)
        return None if view is None else _row(view)

    async def _views(self, task_ids: Collection[str]) -> Mapping[str, TaskView]:
        async with self._connection() as connection:
            return await tasks.get_tasks(connection, task_ids)

    async def tasks(self, wanted: TaskFilter, *, page: int, page_size: int) -> tuple[int, Sequence[TaskRow]]:
        """How many there are, and one page of them."""
        async with self._connection() as connection:
            views, total = await tasks.list_tasks(
                connection,
                page=page,
                page_size=page_size,
                status=None if wanted.statuses is None else [str(status) for status in wanted.statuses],
                type=wanted.type,
                tenant=wanted.tenant,
            )
        return total, [_row(view) for view in views]

    async def history(self, task_id: str) -> Sequence[HistoryEntry]:
        """All facts of the task."""
        async with self._connection() as connection:
            return await history.get_history(connection, task_id)

    async def terminal(self, task_ids: Collection[str]) -> set[str]:
        """Those of the tasks that have ended."""
        async with self._connection() as connection:
            statuses = await tasks.get_statuses(connection, task_ids)
        return {task_id for task_id, status in statuses.items() if status in TERMINAL}

    async def steps(self, workflow_id: str, task_ids: Collection[str] = ()) -> Sequence[StepRow]:
        """The tasks of a workflow, and those that have one of the ids."""
        async with self._connection() as connection:
            return await workflows.steps(connection, workflow_id, task_ids)

    async def selection(self, wanted: Selection, *, after: str, limit: int) -> Sequence[Selected]:
        """So many of the unfinished tasks that match."""
        async with self._connection() as connection:
            return await selection.page(connection, wanted, after=after, limit=limit)

    async def selected(self, wanted: Selection) -> int:
        """How many unfinished tasks match."""
        async with self._connection() as connection:
            return await selection.count(connection, wanted)

    async def line(self, task_id: str, strategy: str, seconds: Mapping[Kind, float], within: Within) -> Line | None:
        """What waits beside a task."""
        async with self._connection() as connection:
            return await line.line(connection, task_id, strategy, seconds, within)

    async def dispatchers(self, resource_classes: Collection[str]) -> Sequence[Dispatcher]:
        """What the workers said last."""
        async with self._connection() as connection:
            return await dispatchers.dispatchers(connection, resource_classes)

    async def queue(self) -> QueueSnapshot:
        """What waits now."""
        async with self._connection() as connection:
            found = await queue_depth.backlog(connection)
        return QueueSnapshot(found.waiting, found.projected)

    async def projected(self) -> Offsets:
        """Up to where the projector has read."""
        async with self._connection() as connection:
            return await offsets.watermark(connection)

    async def progress(self) -> Progress | None:
        """The projector's last sign of life."""
        async with self._connection() as connection:
            return await offsets.progress(connection)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_SECONDS), database.reading(self._engine) as connection:
                yield connection
        except TimeoutError as error:
            raise ReadModelUnavailable(f"the read models did not answer in {QUERY_TIMEOUT_SECONDS:g} s") from error


class PostgresNotifications:
    """Implements `api.ports.Notifications` with one connection that listens."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url

    async def listen(self, heard: Callable[[], None]) -> None:
        """Call `heard()` whenever tasks have ended, and after each reconnection, since some may have been missed."""
        while True:
            with suppress(psycopg.Error, OSError):
                connection = await database.connect(self._database_url, autocommit=True)
                async with connection:
                    await connection.execute(f"LISTEN {database.CHANNEL}")
                    heard()
                    async for _ in connection.notifies():
                        heard()
            await asyncio.sleep(RECONNECT_SECONDS)


def _row(view: TaskView) -> TaskRow:
    return TaskRow(state=view.state, type=view.type, tenant=view.tenant, hold_reason=view.hold_reason)
