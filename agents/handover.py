"""What a worker does for the tasks of shards that it has to give away while it is alive: it hands back their attempts.

Their successor takes an attempt without an end for one whose worker died, which counts, and starts such tasks one at a
time. A worker that hears that a shard is another's has the time to say better: the successor's fold begins only with
the same word from the group, and takes longer than one append. Said too late, or by a zombie, it has no effect.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import UTC, datetime

from agents.entries import Entry
from domain.decide import Release, decide
from domain.states import TaskStatus
from streams.log import EventLog, LogUnavailable

#: A log that does not answer must not keep the worker from its other shards.
HANDOVER_SECONDS_MAX = 1.0

_log = logging.getLogger(__name__)


async def hand_back(entries: Iterable[Entry], epoch: int, log: EventLog) -> None:
    """Record that the attempts which ran for these entries were handed back, under the epoch in which they ran."""
    now = datetime.now(UTC)
    facts = [
        fact
        for entry in entries
        # Where a fact is on its way, the log may hold less than the entry says.
        if entry.state.status is TaskStatus.RUNNING and not entry.unwritten
        for fact in decide(Release(at=now, reason="its shard moved", epoch=max(epoch, entry.state.epoch)), entry.state)
    ]
    if not facts:
        return
    try:
        async with asyncio.timeout(HANDOVER_SECONDS_MAX):
            await log.all_acknowledged([await log.record(fact) for fact in facts])
    except (LogUnavailable, TimeoutError) as error:
        _log.warning("attempts of lost shards count as lost: %s", error, extra={"attempts": len(facts)})
