import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.strategies import STRATEGIES, KeyOrder, Strategy, Waiting, fifo, priority

TASKS = st.builds(
    Waiting,
    task_id=st.sampled_from([f"t-{number}" for number in range(12)]),
    priority=st.integers(1, 3),
    accepted_ms=st.integers(0, 5),
    tie=st.tuples(st.integers(0, 3), st.integers(0, 100)),
)


def drained(strategy: Strategy) -> list[Waiting]:
    found = []
    while (task := strategy.pop(0)) is not None:
        found.append(task)
    return found


@given(st.lists(TASKS, unique_by=(lambda task: task.task_id, lambda task: task.tie)))
def test_fifo_starts_what_was_accepted_first(tasks: list[Waiting]) -> None:
    strategy = fifo()
    for task in tasks:
        strategy.push(task)
    assert drained(strategy) == sorted(tasks, key=lambda task: (task.accepted_ms, task.tie))


@given(st.lists(TASKS, unique_by=(lambda task: task.task_id, lambda task: task.tie)))
def test_priority_is_strict_and_fifo_within_one(tasks: list[Waiting]) -> None:
    strategy = priority()
    for task in tasks:
        strategy.push(task)
    assert drained(strategy) == sorted(tasks, key=lambda task: (-task.priority, task.accepted_ms, task.tie))


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@given(steps=st.lists(st.tuples(st.sampled_from(["push", "discard", "pop"]), TASKS)))
def test_what_waits_is_what_was_pushed_and_neither_discarded_nor_popped(
    name: str, steps: list[tuple[str, Waiting]]
) -> None:
    strategy = STRATEGIES[name]()
    model: dict[str, Waiting] = {}
    for step, task in steps:
        if step == "push":
            strategy.push(task)
            model[task.task_id] = task
        elif step == "discard":
            strategy.discard(task.task_id)
            model.pop(task.task_id, None)
        else:
            popped = strategy.pop(0)
            assert (popped is None) == (not model)
            if popped is not None:
                assert model.pop(popped.task_id) == popped
        assert len(strategy) == len(model)
    by_id = {task.task_id: task for task in strategy.waiting()}
    assert by_id == model
    assert {task.task_id for task in drained(strategy)} == set(model)


@given(st.lists(st.tuples(st.booleans(), TASKS), max_size=400))
def test_what_is_discarded_or_replaced_does_not_pile_up(steps: list[tuple[bool, Waiting]]) -> None:
    strategy = KeyOrder(lambda task: (task.accepted_ms,))
    for keep, task in steps * 3:
        strategy.push(task)
        if not keep:
            strategy.discard(task.task_id)
        assert len(strategy._heap) <= 2 * len(strategy) + 65
