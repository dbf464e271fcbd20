"""The strategy of a class is switched while tasks wait and run."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.strategies.choice import NAMES, StrategyChoice
from schemas import events
from tests.support.memory_worker import CLASS, World, until, worker

ALL = {0, 1, 2, 3}


async def test_the_tasks_that_wait_start_in_the_new_order() -> None:
    world = World()
    async with worker(world, slots=1, strategy="fifo") as w:
        await world.group.rebalance({w.stream: ALL})
        await world.submit("first", "wait")
        await until(lambda: world.script.running)
        for name, priority in (("low", 1), ("normal", 2), ("high", 3)):
            await world.submit(name, priority=priority)
        w.configure(strategies={CLASS: StrategyChoice("priority")})
        world.script.let_go("first")
        await until(lambda: world.lag == 0)
    assert world.script.started == ["first", "high", "normal", "low"]
    assert [fact.strategy for fact in world.log.facts() if isinstance(fact, events.TaskStarted)] == [
        "fifo",
        *["priority"] * 3,
    ]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(sorted(NAMES)), min_size=1, max_size=6), st.integers(1, 4))
async def test_no_task_is_lost_or_run_twice_by_switches(names: list[str], slots: int) -> None:
    world = World()
    tasks = [f"t-{number}" for number in range(60)]
    async with worker(world, slots=slots) as w:
        await world.group.rebalance({w.stream: ALL})
        for number, task in enumerate(tasks):
            then = "fail-once" if number % 7 == 0 else "return"
            await world.submit(task, then, priority=number % 3 + 1, tenant=f"n-{number % 2}")
            if number % 10 == 0:
                w.configure(strategies={CLASS: StrategyChoice(names[number // 10 % len(names)])})
        await until(lambda: world.lag == 0)
    starts = Counter(world.script.started)
    assert starts == {task: 2 if number % 7 == 0 else 1 for number, task in enumerate(tasks)}


async def test_a_switch_to_the_same_strategy_changes_nothing() -> None:
    world = World()
    async with worker(world) as w:
        before = w.window.strategy
        w.configure()
        assert w.window.strategy is before
        w.configure(strategies={CLASS: StrategyChoice("priority", {"ageing_every": 2})})
        assert w.window.strategy is not before
