"""What the workers said last of their queues. No read model: the log does not have it, and it is old after a second."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.dispatch_status import Dispatcher, dispatcher_of

#: A worker that has said nothing for so long is gone, or has nothing to say.
SILENCE_MAX = timedelta(seconds=10)
_EXISTS = text("SELECT to_regclass('coordination.dispatch_status') IS NOT NULL")
_SELECT = text(
    "SELECT worker, resource_class, updated_at, status FROM coordination.dispatch_status"
    " WHERE resource_class = ANY(:classes) AND updated_at > now() - :silence ORDER BY worker"
)


async def dispatchers(connection: AsyncConnection, resource_classes: Collection[str]) -> Sequence[Dispatcher]:
    """The workers of the classes that were heard of lately."""
    if not (await connection.execute(_EXISTS)).scalar_one():
        return []
    found = await connection.execute(_SELECT, {"classes": list(resource_classes), "silence": SILENCE_MAX})
    return [dispatcher_of(worker, name, at, status) for worker, name, at, status in found]
