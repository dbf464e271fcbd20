"""In which order each strategy starts what waits."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.strategies.closures import Closures
from domain.strategies.estimates import Estimates
from domain.strategies.lane_order import LaneOrder
from domain.strategies.strategy import Refuser, Usage, Waiting
from tests.support.strategies import anything, drained, lane, strategy_of, waiting

TASKS = st.lists(
    st.builds(
        lambda number, priority, estimate, deadline, queued, which: waiting(
            number, priority, estimate_seconds=estimate, deadline_ms=deadline, queued_ms=queued, lane=lane(which)
        ),
        number=st.integers(0, 500),
        priority=st.integers(1, 3),
        estimate=st.floats(0, 100),
        deadline=st.none() | st.integers(2000, 2005),
        queued=st.just(0) | st.integers(400, 600),
        which=st.integers(0, 3),
    ),
    unique_by=lambda task: task.task_id,
)
LAST = 10**6


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("fifo", lambda task: task.accepted_ms),
        ("priority", lambda task: (-task.priority, task.accepted_ms)),
        ("preemptive", lambda task: (-task.priority, task.accepted_ms)),
        ("round_robin", lambda task: (max(task.queued_ms, task.accepted_ms), task.accepted_ms)),
        ("shortest_job_first", lambda task: (task.estimate_seconds, task.accepted_ms)),
        ("deadline", lambda task: (task.deadline_ms or LAST, task.accepted_ms)),
    ],
)
@given(tasks=TASKS)
def test_the_order(name: str, key: Callable[[Waiting], float], tasks: list[Waiting]) -> None:
    strategy = strategy_of(name)
    for task in tasks:
        strategy.push(task, 0)
    assert drained(strategy) == sorted(tasks, key=key)


def test_round_robin_puts_who_gave_its_turn_back_behind_those_that_wait() -> None:
    strategy = strategy_of("round_robin")
    for number in range(3):
        strategy.push(waiting(number), 0)
    first = strategy.pop(10, anything)
    assert first == waiting(0)
    strategy.push(waiting(0, queued_ms=20), 20)
    assert [task.task_id for task in drained(strategy)] == ["t-1", "t-2", "t-0"]


def test_a_learned_estimate_orders_tasks_that_wait_already() -> None:
    strategy = strategy_of("shortest_job_first")
    slow, fast = lane(0, task_type="film"), lane(0, task_type="note")
    for number in range(4):
        strategy.push(waiting(number, lane=slow), 0)
        strategy.push(waiting(10 + number, lane=fast), 0)
    strategy.ended(waiting(99, lane=slow), Usage(seconds=600.0))
    strategy.ended(waiting(98, lane=fast), Usage(seconds=2.0))
    strategy.push(waiting(20, lane=slow, estimate_seconds=1.0), 0)
    strategy.push(waiting(21, lane=fast, estimate_seconds=30.0), 0)
    assert [int(task.task_id[2:]) for task in drained(strategy)] == [20, 10, 11, 12, 13, 21, 0, 1, 2, 3]


def test_what_did_not_complete_teaches_nothing() -> None:
    learned = Estimates()
    strategy = strategy_of("shortest_job_first", learned)
    strategy.ended(waiting(0), Usage(seconds=3.0, complete=False))
    assert learned.known("convert", None) is None


def test_an_unknown_kind_is_taken_for_an_average_one() -> None:
    strategy = strategy_of("shortest_job_first")
    known_slow, known_fast, unknown = (lane(0, task_type=name) for name in ("slow", "fast", "new"))
    for number, which in enumerate((known_slow, unknown, known_fast)):
        strategy.push(waiting(number, lane=which), 0)
    for seconds, which in ((100.0, known_slow), (10.0, lane(0, task_type="usual")), (1.0, known_fast)):
        strategy.ended(waiting(50, lane=which), Usage(seconds=seconds))
    assert [task.task_id for task in drained(strategy)] == ["t-2", "t-1", "t-0"]


class Counted(float):
    """A number that counts how often it is compared."""

    comparisons = 0

    def __lt__(self, other: float) -> bool:
        Counted.comparisons += 1
        return float(self) < float(other)

    def __eq__(self, other: object) -> bool:
        Counted.comparisons += 1
        return isinstance(other, float) and float(self) == float(other)

    __hash__ = float.__hash__


@pytest.fixture
def comparisons() -> Callable[[], int]:
    Counted.comparisons = 0
    return lambda: Counted.comparisons


def test_a_start_costs_the_logarithm_of_what_waits(comparisons: Callable[[], int]) -> None:
    """With hundreds of lanes, half of which stand behind few limits that open and close; counted, not timed."""
    costs = []
    for size in (2_000, 32_000):
        closures = Closures()
        order = LaneOrder(lambda task: (Counted((task.tie[1] * 7919) % 10_007), float(task.tie[1])), closures)
        for number in range(size):
            order.add(waiting(number, lane=lane(number % 400)))
        limits = [Refuser("concurrency", "type", f"type-{number}") for number in range(20)]
        for number in range(0, 400, 2):
            group, _ = closures.close(limits[number % 20])
            moved = closures.place(lane(number), group)
            assert moved is not None
            order.moved(*moved)
        before = comparisons()
        for turn in range(400):
            task = order.choose(0)
            assert task is not None
            assert task.lane not in closures.groups
            order.remove(task)
            for turned in (closures.open(limits[turn * 2 % 20]), closures.close(limits[turn * 2 % 20])[0]):
                assert turned is not None
                order.turned(turned)
        costs.append((comparisons() - before) / 400)
    # 16 times as many tasks: four more levels of a heap, of at most four comparisons each.
    assert costs[1] - costs[0] <= 16
    assert max(costs) < 150
