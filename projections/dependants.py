"""Tasks that wait for others, and workflows that a failed step stops: parts of `tasks`, through indexes of their own.

Both are looked through page by page, so that one look costs the same however many wait; who hears of an end asks for
what hangs on it at once.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ARRAY, Index, Text, cast, func, literal, not_, select, text
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from domain import holds
from domain.dependencies import Dependency
from domain.states import TERMINAL, TaskStatus
from domain.workflow import FAIL_FAST
from projections.held_tasks import STAYED
from projections.tasks import TASKS
from streams.ports import Dependant, Step

_C = TASKS.c
_WAITING_TEXT = f"latest AND status = '{TaskStatus.HELD}' AND hold_reason = '{holds.DEPENDENCIES}'"
_WAITING = _C.latest & (_C.status == str(TaskStatus.HELD)) & (_C.hold_reason == holds.DEPENDENCIES)
WAITING_INDEX = Index("ix_tasks_waiting", _C.task_id, postgresql_where=text(_WAITING_TEXT))
DEPENDS_ON_INDEX = Index(
    "ix_tasks_depends_on", _C.depends_on, postgresql_using="gin", postgresql_where=text(_WAITING_TEXT)
)
_UNFINISHED_TEXT = f"latest AND on_dependency_failure = '{FAIL_FAST}' AND finished_at IS NULL"
UNFINISHED_INDEX = Index("ix_tasks_unfinished_steps", _C.task_id, postgresql_where=text(_UNFINISHED_TEXT))
_HOW = (_C.status, _C.error_code, _C.error_detail)
_NOT_COMPLETED = sorted(TERMINAL - {TaskStatus.COMPLETED})


async def waiting(connection: AsyncConnection, after: str, limit: int) -> list[Dependant]:
    """So many of the tasks that wait for others, by task id, those behind `after`."""
    # Written out as in the index, so that PostgreSQL sees that it may use it whatever the parameters are.
    return await _dependants(connection, text(_WAITING_TEXT), _C.task_id > after, limit=limit)


async def waiting_for(connection: AsyncConnection, ended: Collection[str], limit: int) -> list[Dependant]:
    """Tasks that wait for one of these."""
    ids = cast(list(ended), ARRAY(Text))
    return await _dependants(connection, text(_WAITING_TEXT), _C.depends_on.bool_op("&&")(ids), limit=limit)


async def dependencies(connection: AsyncConnection, task_ids: Collection[str]) -> dict[str, Dependency]:
    """How tasks are that others wait for; unknown ones are left out."""
    query = select(_C.task_id, *_HOW).where(_C.latest, _C.task_id == func.any(list(task_ids)))
    return {row[0]: Dependency(row[0], TaskStatus(row[1]), *row[2:]) for row in await connection.execute(query)}


async def results(connection: AsyncConnection, task_ids: Collection[str]) -> dict[str, str]:
    """Results of those of the tasks that completed, as JSON texts."""
    query = select(_C.task_id, _C.result).where(
        _C.latest,
        _C.status == str(TaskStatus.COMPLETED),
        _C.result.is_not(None),
        _C.task_id == func.any(list(task_ids)),
    )
    return {row[0]: row[1] for row in await connection.execute(query)}


async def unfinished_steps(connection: AsyncConnection, after: str, limit: int) -> list[Step]:
    """Unfinished steps that wait for no others, of workflows that a failing step stops: a page behind `after`."""
    waits_for_others = (_C.status == str(TaskStatus.HELD)) & (_C.hold_reason == holds.DEPENDENCIES)
    query = (
        select(_C.task_id, _C.run, _C.workflow_id)
        # What was run again by hand goes on, whatever became of the others.
        .where(text(_UNFINISHED_TEXT), _C.workflow_id.is_not(None), _C.run == 1, _C.task_id > after)
        .where(not_(func.coalesce(waits_for_others, literal(False))))
        .order_by(_C.task_id)
        .limit(limit)
    )
    return [Step(task_id, run, workflow_id) for task_id, run, workflow_id in await connection.execute(query)]


async def failed_steps(connection: AsyncConnection, workflow_ids: Collection[str]) -> dict[str, Dependency]:
    """The step that did not complete, and the first such one, of each of the workflows that has any."""
    query = (
        select(_C.workflow_id, _C.task_id, *_HOW)
        .ext(distinct_on(_C.workflow_id))
        .where(_C.latest, _C.workflow_id == func.any(list(workflow_ids)), _C.status == func.any(_NOT_COMPLETED))
        .order_by(_C.workflow_id, _C.finished_at, _C.task_id)
    )
    return {row[0]: Dependency(row[1], TaskStatus(row[2]), *row[3:]) for row in await connection.execute(query)}


async def last_ticks(connection: AsyncConnection, schedule_ids: Collection[str]) -> dict[str, str]:
    """Id of the latest task of each schedule that has any: its ticks sort as its ids do."""
    asked = func.unnest(cast(list(schedule_ids), ARRAY(Text))).column_valued("asked")
    latest = select(_C.task_id).where(_C.schedule_id == asked).order_by(_C.task_id.desc()).limit(1).scalar_subquery()
    found = await connection.execute(select(asked, latest))
    return {schedule_id: task_id for schedule_id, task_id in found if task_id is not None}


async def _dependants(connection: AsyncConnection, *matches: Any, limit: int) -> list[Dependant]:
    query = (
        select(
            _C.task_id,
            _C.run,
            _C.resource_class,
            _C.depends_on,
            _C.on_dependency_failure,
            _C.workflow_id,
            _C.due_at,
        )
        .where(*matches, STAYED, _C.submission.is_not(None))
        .order_by(_C.task_id)
        .limit(limit)
    )
    return [
        Dependant(
            task_id=task_id,
            run=run,
            resource_class=resource_class,
            depends_on=tuple(depends_on or ()),
            on_dependency_failure=policy or "fail",
            workflow_id=workflow_id,
            until=until,
        )
        for task_id, run, resource_class, depends_on, policy, workflow_id, until in await connection.execute(query)
    ]
