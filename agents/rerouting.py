"""Asks again for tasks that wait already, when the model that they wait for cannot be had any more.

A task is asked for when it begins to wait; a provider that asks to be left alone, or a model that goes offline, comes
later. One look at all tasks for each such change, not for each task.
"""

from __future__ import annotations

import asyncio
from typing import Final

from agents.owner import Owner
from agents.routing import ModelRouter

LOOK_SECONDS: Final = 1.0


async def reroute(owner: Owner, router: ModelRouter) -> None:
    """Send waiting tasks on, for ever."""
    known: frozenset[str] = frozenset()
    changes = -1
    while True:
        obstructed = router.obstructed()
        if owner.settled and (obstructed - known or router.changes != changes):
            changes = router.changes
            for entry in list(owner.entries.values()):
                if router.goes_elsewhere(entry.submission, entry.state):
                    owner.settle(entry)
        known = obstructed
        await asyncio.sleep(LOOK_SECONDS)
