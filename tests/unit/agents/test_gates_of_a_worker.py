"""What the limits refuse, and what runs under permits that lapse."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agents.limits.gates import Gates
from domain.limits.limit import Limit
from domain.limits.tickets import Ticket
from domain.states import TaskStatus
from domain.task import fold
from tests.support.memory_worker import CLASS, World, until, worker

ALL = {0, 1, 2, 3}


class LapsingGates(Gates):
    """Gates whose tickets lapse when a test says so."""

    lapse = False

    def lapsed(self) -> list[Ticket]:
        """All that are out."""
        return list(self._tickets) if self.lapse else []


@asynccontextmanager
async def leased(gates: Gates) -> AsyncIterator[Gates]:
    """The gates while their leases are renewed."""
    leases = asyncio.create_task(gates.run())
    try:
        yield gates
    finally:
        leases.cancel()


async def test_a_limit_that_changes_while_tasks_wait_is_kept() -> None:
    world = World()
    async with leased(Gates(CLASS, slots=8)) as gates, worker(world, slots=8, gates=gates) as w:
        w.configure(set_limits={("type", "step"): Limit(concurrency=2)})
        await world.group.rebalance({w.stream: ALL})
        names = [f"t-{number}" for number in range(10)]
        for name in names:
            await world.submit(name, "wait")
        await until(lambda: len(world.script.running) == 2)
        w.configure(set_limits={("type", "step"): Limit(concurrency=3)})
        await until(lambda: len(world.script.running) == 3)
        for name in names:
            world.script.let_go(name)
        await until(lambda: world.lag == 0)
    assert world.script.running_max == 3


async def test_an_attempt_whose_permit_lapses_is_stopped_at_no_cost() -> None:
    world = World()
    gates = LapsingGates(CLASS, slots=2)
    async with leased(gates), worker(world, gates=gates) as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("t", "wait", attempts_max=1)
        await until(lambda: world.script.running)
        gates.lapse = True
        w.dispatcher.wake()
        await until(lambda: world.script.cancelled)
        gates.lapse = False
        world.script.let_go("t")
        await until(lambda: world.lag == 0)
    assert world.log.types("t")[:2] == ["started", "released"]
    assert fold("t", world.log.facts("t")).status is TaskStatus.COMPLETED


async def test_a_handler_does_not_begin_under_a_permit_that_has_lapsed() -> None:
    world = World()
    gates = LapsingGates(CLASS, slots=2)
    async with leased(gates), worker(world, gates=gates) as w:
        await world.group.rebalance({w.stream: ALL})
        world.log.withhold()
        submitting = asyncio.create_task(world.submit("t"))
        await asyncio.sleep(0)
        world.log.release()
        world.log.withhold()
        await submitting
        await until(lambda: len(w.outbox) == 1)
        gates.lapse = True
        world.log.release()
        await until(lambda: "released" in world.log.types("t"))
        assert not world.script.started
        gates.lapse = False
        await until(lambda: world.lag == 0)


async def test_permits_of_a_lost_shard_are_free_again() -> None:
    world = World()
    gates = Gates(CLASS, slots=2)
    async with leased(gates), worker(world, gates=gates) as old, worker(world) as new:
        old.configure(set_limits={("type", "step"): Limit(concurrency=1)})
        await world.group.rebalance({old.stream: ALL})
        await world.submit("t", "wait")
        await until(lambda: world.script.running)
        await world.group.rebalance({old.stream: set(), new.stream: ALL})
        await until(lambda: not old.dispatcher.active)
        assert not gates._tickets
        world.script.let_go("t")
        await until(lambda: world.lag == 0)


async def test_every_lane_behind_a_full_limit_is_known_to_be_closed_though_few_were_looked_at() -> None:
    world = World()
    async with leased(Gates(CLASS, slots=8)) as gates, worker(world, slots=8, gates=gates) as w:
        w.configure(set_limits={("class", CLASS): Limit(concurrency=1)})
        await world.group.rebalance({w.stream: ALL})
        names = [f"t-{number}" for number in range(6)]
        for name in names:
            await world.submit(name, "wait", tenant=name)
        await until(lambda: len(w.core.gatekeeper.closed) == 5)
        await until(lambda: world.script.running)
        world.script.let_go(next(iter(world.script.running)))
        await until(lambda: len(w.core.gatekeeper.closed) == 4)
        await until(lambda: world.script.running)
        world.script.let_go(next(iter(world.script.running)))
        await until(lambda: len(w.core.gatekeeper.closed) == 3)
        assert {(refusal.scope, refusal.name) for refusal in w.core.gatekeeper.closed.values()} == {("class", CLASS)}
        for name in names:
            world.script.let_go(name)
        await until(lambda: world.lag == 0)
