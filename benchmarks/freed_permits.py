"""What a freed permit costs where many lanes wait for it: through the real gates, ledger and strategy of a worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from agents.engines.local_models import LocalModels
from agents.engines.text_models import TextModels
from agents.gatekeeper import Gatekeeper
from agents.handlers.registry import Registry
from agents.handlers.settings import LlmSettings
from agents.limits.gates import Gates
from agents.limits.local import LocalTable
from agents.room import Room
from domain.configuration import Configuration
from domain.limits.exchange import Terms
from domain.limits.limit import Limit
from domain.limits.tickets import Ticket
from domain.strategies.choice import StrategyChoice
from domain.strategies.estimates import Estimates
from domain.strategies.make import make_strategy
from domain.strategies.strategy import Refuser, Usage, Waiting, lane_of
from domain.waits import Ledger, Mark

#: Lanes (tenants of one model) that wait for the permits of one limit.
LANES = (10, 100, 1_000)
PERMITS = 4
#: More than permits: so each start is followed by a look that finds none left.
SLOTS = 8
TASKS_PER_LANE = 3
ENDS = 2_000
#: Ends that are timed together.
SLICE = 50
#: The table is asked once, before anything is timed.
_TERMS = Terms(lease_seconds=7200.0, margin_seconds=2.0, renew_seconds=3600.0)
_NOW_MS = 10**6


def freed_permit_costs(name: str) -> dict[str, float]:
    """Microseconds of processor time from the end of an attempt to the next start, by the number of lanes."""
    return {str(lanes): round(asyncio.run(_Worker(name).cost(lanes)), 1) for lanes in LANES}


class _Worker:
    """The parts of a worker that a permit passes through."""

    def __init__(self, strategy: str) -> None:
        self._strategy = make_strategy(StrategyChoice(strategy), Estimates(), lambda tenant: 1.0)
        self._gates = Gates("llm", slots=SLOTS, table=LocalTable(_TERMS))
        self._ledger = Ledger(SLOTS, 0.0, fair=strategy == "fair")
        settings = LlmSettings()
        room = Room(Registry(), LocalModels(TextModels(settings), settings))
        self._gatekeeper = Gatekeeper("llm", self._gates, room, self._ledger, self._strategy.reopen)
        self._gates.on_open = lambda refusers: self._gatekeeper.open(refusers, _NOW_MS)
        self._marks: dict[str, Mark] = {}
        self._running: dict[str, tuple[Waiting, Ticket]] = {}
        self._numbers = 0

    async def cost(self, lanes: int) -> float:
        """With so many lanes behind one limit of the model."""
        limits: Mapping[tuple[str, str], Limit] = {("model", "m"): Limit(concurrency=PERMITS)}
        self._gatekeeper.configure(Configuration(set_limits=limits), _NOW_MS)
        leases = asyncio.create_task(self._gates.run())
        for _ in range(TASKS_PER_LANE):
            for tenant in range(lanes):
                self._arrive(f"tenant-{tenant}")
        while len(self._running) < PERMITS:
            self._start_what_fits()
            await asyncio.sleep(0.001)
        slices = []
        for _ in range(ENDS // SLICE):
            begun = time.process_time()
            for _ in range(SLICE):
                self._end()
                self._start_what_fits()
            slices.append((time.process_time() - begun) / SLICE * 1e6)
        leases.cancel()
        await asyncio.gather(leases, return_exceptions=True)
        # The least of them: what others do on this machine only adds to it.
        return min(slices)

    def _arrive(self, tenant: str) -> None:
        self._numbers += 1
        task = Waiting(f"t-{self._numbers}", lane_of("m", "p", "chat", tenant), 2, self._numbers)
        self._marks[task.task_id] = self._ledger.mark(task.lane, _NOW_MS)
        self._strategy.push(task, _NOW_MS)

    def _start_what_fits(self) -> None:
        while len(self._running) < SLOTS and (task := self._strategy.pop(_NOW_MS, self._refuser)) is not None:
            self._ledger.waited(self._marks.pop(task.task_id), task.priority, _NOW_MS)
            self._ledger.started(task.lane, task.priority, _NOW_MS)
            self._running[task.task_id] = (task, self._gatekeeper.admitted())

    def _refuser(self, task: Waiting) -> Refuser | None:
        return self._gatekeeper.refuser(task, _NOW_MS)

    def _end(self) -> None:
        """The attempt that has run for longest ends, and its tenant sends another task."""
        task, ticket = self._running.pop(next(iter(self._running)))
        self._ledger.ended(task.lane, task.priority, _NOW_MS)
        self._strategy.ended(task, Usage(1.0, 100.0))
        self._gates.settle(ticket)
        self._gatekeeper.ended(task.task_id, _NOW_MS)
        self._arrive(task.lane.tenant)
