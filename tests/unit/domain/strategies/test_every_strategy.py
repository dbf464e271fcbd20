"""What holds for every strategy, whatever its order."""

import gc
from collections import Counter
from functools import partial
from types import FunctionType, ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.strategies.choice import NAMES
from domain.strategies.strategy import Lane, Refuser, Usage, Waiting
from tests.support.strategies import anything, drained, lane, nothing, strategy_of, waiting, where

every_strategy = pytest.mark.parametrize("name", sorted(NAMES))

TASKS = st.builds(
    Waiting,
    task_id=st.sampled_from([f"t-{number}" for number in range(12)]),
    lane=st.builds(lane, st.integers(0, 2), tenant=st.sampled_from(["a", "b"]), task_type=st.sampled_from(["x", "y"])),
    priority=st.integers(1, 3),
    accepted_ms=st.integers(0, 5),
    tie=st.tuples(st.integers(0, 3), st.integers(0, 100)),
    estimate_seconds=st.none() | st.floats(0, 100),
    cost=st.floats(0, 5000),
    deadline_ms=st.none() | st.integers(0, 20),
    queued_ms=st.integers(0, 10),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["push", "push", "discard", "pop", "refuse", "reopen", "expire"]), TASKS), max_size=80
)


def _of(refused: Lane | None, head: Waiting) -> Refuser | None:
    return Refuser.of(head.lane) if head.lane == refused else None


@every_strategy
@given(steps=STEPS)
def test_what_waits_is_what_was_pushed_and_neither_discarded_nor_given(
    name: str, steps: list[tuple[str, Waiting]]
) -> None:
    strategy = strategy_of(name, ageing_seconds=0.004, ageing_every=2)
    model: dict[str, Waiting] = {}
    for now_ms, (step, task) in enumerate(steps):
        match step:
            case "push":
                strategy.push(task, now_ms)
                model[task.task_id] = task
            case "discard":
                strategy.discard(task.task_id)
                model.pop(task.task_id, None)
            case "reopen":
                strategy.reopen(Refuser.of(task.lane))
            case "expire":
                expired = strategy.expired(now_ms)
                late = {t.task_id for t in model.values() if t.deadline_ms is not None and t.deadline_ms <= now_ms}
                assert {model.pop(found.task_id).task_id for found in expired} == late
            case _:
                refused = task.lane if step == "refuse" else None
                given_task = strategy.pop(now_ms, partial(_of, refused))
                if given_task is not None:
                    assert model.pop(given_task.task_id) == given_task
                    assert given_task.deadline_ms is None or given_task.deadline_ms > now_ms
                    strategy.ended(given_task, Usage(seconds=now_ms, tokens=now_ms * 10.0))
        assert len(strategy) == len(model)
        assert {found.task_id: found for found in strategy.waiting()} == model
    for found in model.values():
        strategy.reopen(Refuser.of(found.lane))
    startable = {task_id for task_id, task in model.items() if task.deadline_ms is None or task.deadline_ms > 90}
    assert {task.task_id for task in drained(strategy, now_ms=90)} == startable


@given(
    names=st.tuples(st.sampled_from(sorted(NAMES)), st.sampled_from(sorted(NAMES))),
    tasks=st.lists(TASKS, unique_by=lambda task: task.task_id),
    started=st.integers(0, 6),
    closed=st.integers(0, 2),
)
def test_a_switch_loses_and_doubles_nothing(
    names: tuple[str, str], tasks: list[Waiting], started: int, closed: int
) -> None:
    old, new = (strategy_of(name) for name in names)
    for task in tasks:
        old.push(task, 0)
    begun = [old.pop(1, where(lambda task: task.lane.model != f"model-{closed}")) for _ in range(started)]
    for task in old.waiting():
        new.push(task, 2)
    running = [task for task in begun if task is not None]
    for task in running:
        new.ended(task, Usage(seconds=1.0))
    ended = running + new.expired(2) + drained(new, now_ms=2)
    assert Counter(task.task_id for task in ended) == Counter(task.task_id for task in tasks)


@every_strategy
def test_a_refused_task_closes_its_lane_and_nothing_else(name: str) -> None:
    strategy = strategy_of(name)
    for number in range(20):
        strategy.push(waiting(number, lane=lane(number % 2)), 0)
    asked: list[str] = []

    def admits(task: Waiting) -> bool:
        asked.append(task.task_id)
        return task.lane == lane(1)

    while (started := strategy.pop(0, where(admits))) is not None:
        assert started.lane == lane(1)
    refused = [task_id for task_id in asked if int(task_id[2:]) % 2 == 0]
    assert len(refused) == 1
    assert strategy.pop(0, anything) is None
    strategy.push(waiting(20, lane=lane(0)), 0)
    assert strategy.pop(0, anything) is None, "a task that comes later does not open its lane"
    strategy.reopen(Refuser.of(lane(0)))
    assert len(drained(strategy)) == 11


@every_strategy
def test_a_replaced_task_waits_as_it_is_now(name: str) -> None:
    strategy = strategy_of(name)
    strategy.push(waiting(0, priority=1), 0)
    strategy.push(waiting(0, priority=3, lane=lane(7)), 0)
    assert drained(strategy) == [waiting(0, priority=3, lane=lane(7))]


@every_strategy
def test_a_lane_that_ran_empty_while_closed_is_open_when_it_comes_again(name: str) -> None:
    strategy = strategy_of(name)
    strategy.push(waiting(0), 0)
    assert strategy.pop(0, nothing) is None
    strategy.discard("t-0")
    strategy.push(waiting(1), 0)
    assert strategy.pop(0, anything) == waiting(1)


@every_strategy
def test_an_expired_task_is_collected_once_and_never_given(name: str) -> None:
    strategy = strategy_of(name)
    for number in range(4):
        strategy.push(waiting(number, deadline_ms=10 * (4 - number)), 0)
    strategy.push(waiting(4), 0)
    assert [task.task_id for task in strategy.expired(20)] == ["t-3", "t-2"]
    assert strategy.expired(20) == []
    first = strategy.pop(30, anything)
    assert first is not None
    assert first.task_id in ("t-0", "t-4")
    assert "t-1" in {task.task_id for task in strategy.waiting()}, "it waits until it is collected"
    assert [task.task_id for task in strategy.expired(30)] == ["t-1"]


@every_strategy
@given(shuffled=st.permutations(range(8)))
def test_equal_tasks_start_in_the_order_of_their_records(name: str, shuffled: list[int]) -> None:
    strategy = strategy_of(name)
    for number in shuffled:
        strategy.push(waiting(number, accepted_ms=5), 0)
    assert [task.tie[1] for task in drained(strategy, now_ms=5)] == list(range(8))


@every_strategy
def test_what_has_ended_leaves_nothing_behind(name: str) -> None:
    """Heaps, accounts and closed lanes are bounded by what waits, not by what ever waited."""
    strategy = strategy_of(name)
    sizes = []
    for number in range(3000):
        task = waiting(number, lane=lane(number, tenant=f"tenant-{number}"), deadline_ms=10**9, cost=10.0)
        strategy.push(task, number)
        assert strategy.pop(number, nothing) is None
        strategy.reopen(Refuser.of(task.lane))
        assert strategy.pop(number, anything) == task
        strategy.ended(task, Usage(seconds=1.0, tokens=10.0, complete=False))
        if number >= 1400 and number % 50 == 0:
            sizes.append(_objects(strategy))
    half = len(sizes) // 2
    assert max(sizes[half:]) <= 1.05 * max(sizes[:half])


def _objects(root: object) -> int:
    """Objects that can be reached from it, code aside."""
    seen: set[int] = set()
    reached = [root]
    while reached:
        found = reached.pop()
        if id(found) not in seen and not isinstance(found, type | ModuleType | FunctionType):
            seen.add(id(found))
            reached += gc.get_referents(found)
    return len(seen)
