"""Keeps the committed offset close behind the work: a straggler's record is appended again, and the old one let go.

Without this one task that waits for its retry, or runs for an hour, would hold back the offset of all that finished
after it, and a recovery would have to read all of that again. Where nothing came after it on its own band, others have
finished on theirs: the facts that a recovery reads are those of all tasks, from the oldest unfinished record on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from agents.entries import Entry
from agents.owner import Owner
from streams.log import EventLog, LogUnavailable, RecordTooLarge
from streams.state_header import STATE_HEADER, state_header


@dataclass(frozen=True, slots=True)
class LagBound:
    """How far the committed offset may trail."""

    #: Longest time for which a finished record may wait for an older, unfinished one.
    trailing_seconds_max: float = 60.0
    #: Most finished records that may wait so.
    finished_max: int = 5_000
    #: Oldest record of a task that runs or waits for its retry. What waits for its turn is as old as the backlog.
    age_seconds_max: float = 300.0
    check_seconds: float = 5.0
    #: Copies of one check.
    copies_max: int = 500


class Relocation:
    """Looks at the frontiers from time to time."""

    def __init__(self, owner: Owner, log: EventLog, bound: LagBound) -> None:
        self._owner, self._log, self._bound = owner, log, bound
        self._logger = logging.getLogger(__name__)

    async def run(self) -> None:
        """Relocate stragglers for ever."""
        while True:
            await asyncio.sleep(self._bound.check_seconds)
            if self._owner.settled:
                await self.check()

    async def check(self) -> int:
        """Relocate what holds back the frontiers now; the number of copies."""
        now = asyncio.get_running_loop().time()
        positions = {
            record.position
            for frontier in self._owner.frontiers.values()
            for record in frontier.stragglers(
                now,
                trailing_seconds_max=self._bound.trailing_seconds_max,
                finished_max=self._bound.finished_max,
            )
        }
        aged = self._aged_heads()
        if not positions and not aged:
            return 0
        found = [
            entry
            for entry in self._owner.entries.values()
            if entry.record.position in positions
            or (entry.record.position in aged and _does_not_wait_for_its_turn(entry))
        ]
        copied = 0
        for entry in found[: self._bound.copies_max]:
            copied += await self._relocate(entry)
        return copied

    def _aged_heads(self) -> set[str]:
        before_ms = (time.time() - self._bound.age_seconds_max) * 1000
        heads = (frontier.head for frontier in self._owner.frontiers.values())
        return {head.position for head in heads if head is not None and head.timestamp_ms < before_ms}

    async def _relocate(self, entry: Entry) -> bool:
        """The copy is durable before the old record is let go; after a crash between, the newer is adopted."""
        record, state = entry.record, entry.state
        if entry.lost or entry.unwritten or entry.leaving or state.terminal:
            # The copy may only say what the log has.
            return False
        headers = [(name, value) for name, value in record.headers.items() if name != STATE_HEADER]
        headers.append((STATE_HEADER, state_header(state, self._owner.name)))
        try:
            future = await self._log.append(record.topic, record.value, record.key, headers, partition=record.shard)
            copy = await self._log.acknowledged(future)
        except (LogUnavailable, RecordTooLarge) as error:
            self._logger.warning("a straggler stays where it is: %s", error)
            return False
        self._owner.finish(record)
        self._logger.info(
            "relocated a straggler", extra={"task_id": entry.task_id, "from": record.position, "to": copy.offset}
        )
        return True


def _does_not_wait_for_its_turn(entry: Entry) -> bool:
    return entry.execution is not None or entry.state.due_at is not None
