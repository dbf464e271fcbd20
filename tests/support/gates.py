"""Gates in tests: lanes, configurations, and waiting for what the lease loop does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from domain.limits.limit import Limit
from domain.strategies.strategy import Lane

DEADLINE_SECONDS = 20.0


@dataclass(frozen=True)
class LimitsOnly:
    """A configuration that has nothing but limits."""

    limits: Mapping[tuple[str, str], Limit] = field(default_factory=dict)


def lane(
    tenant: str = "acme", *, task_type: str = "chat", model: str | None = None, provider: str | None = None
) -> Lane:
    """A lane of which a test says what matters."""
    return Lane(model, provider, task_type, tenant)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not await condition():
        assert time.monotonic() < deadline, "it has not come true"
        await asyncio.sleep(0.01)
