"""Who is asked to make room."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from domain.strategies.strategy import Refuser, Running, Strategy, Usage, Waiting
from tests.support.strategies import anything, lane, nothing, running, strategy_of, waiting, where


def preemptive(*priorities: int) -> Strategy:
    """Tasks of these priorities wait, each in the same lane."""
    strategy = strategy_of("preemptive")
    for number, priority in enumerate(priorities):
        strategy.push(waiting(100 + number, priority), 0)
    return strategy


def test_a_lower_priority_makes_room_for_a_higher_one() -> None:
    assert preemptive(3).victims([running(0, 1), running(1, 2)], 0, 0) == ["t-0"]


def test_an_equal_or_higher_priority_does_not() -> None:
    assert preemptive(2, 2).victims([running(0, 2), running(1, 3)], 0, 0) == []


def test_nobody_is_asked_while_a_slot_is_free_or_about_to_be() -> None:
    assert preemptive(3).victims([running(0, 1)], 1, 0) == []
    assert preemptive(3).victims([running(0, 1), running(1, 1, asked=True)], 0, 0) == []
    assert preemptive(3, 3).victims([running(0, 1), running(1, 1, asked=True)], 0, 0) == ["t-0"]


def test_what_cannot_go_on_elsewhere_is_left_alone() -> None:
    assert preemptive(3).victims([running(0, 1, preemptible=False), running(1, 2)], 0, 0) == ["t-1"]


def test_among_equals_the_latest_started_is_asked() -> None:
    assert preemptive(3).victims([running(0, 1), running(1, 1), running(2, 2)], 0, 0) == ["t-1"]


@given(
    waiting_priorities=st.lists(st.integers(1, 3), max_size=6),
    attempts=st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.booleans()), max_size=6),
    free=st.integers(0, 3),
)
def test_never_more_than_needed_and_never_for_an_equal(
    waiting_priorities: list[int], attempts: list[tuple[int, bool, bool]], free: int
) -> None:
    busy = [running(n, priority, preemptible=can, asked=asked) for n, (priority, can, asked) in enumerate(attempts)]
    chosen = preemptive(*waiting_priorities).victims(busy, free, 0)
    by_id = {attempt.task_id: attempt for attempt in busy}
    asked = sum(attempt.asked for attempt in busy)
    assert len(set(chosen)) == len(chosen) <= max(0, len(waiting_priorities) - free - asked)
    claims = sorted(waiting_priorities, reverse=True)[free + asked :]
    for victim, claim in zip((by_id[task_id] for task_id in chosen), claims, strict=False):
        assert victim.preemptible
        assert not victim.asked
        assert victim.priority < claim
    if chosen:
        spared = [a for a in busy if a.preemptible and not a.asked and a.task_id not in chosen]
        assert all(by_id[task_id].priority <= a.priority for task_id in chosen for a in spared)


def test_who_waits_behind_a_closed_gate_asks_only_those_that_may_open_it() -> None:
    strategy = strategy_of("preemptive")
    strategy.push(waiting(9, 3, lane=lane(1, tenant="high")), 0)
    assert strategy.pop(0, nothing) is None
    elsewhere, on_its_model = running(0, 1, lane=lane(2)), running(1, 1, lane=lane(1, tenant="low"))
    assert strategy.victims([elsewhere], 0, 0) == []
    assert strategy.victims([elsewhere], 3, 0) == []
    assert strategy.victims([elsewhere, on_its_model], 3, 0) == ["t-1"]
    strategy.reopen(Refuser.of(lane(1, tenant="high")))
    assert strategy.victims([elsewhere], 0, 0) == ["t-0"]
    strategy.discard("t-9")
    assert strategy.victims([elsewhere, on_its_model], 0, 0) == []


def test_a_task_is_not_stopped_again_for_one_that_its_slot_did_not_help() -> None:
    """The waiting task is on the same model, but what keeps it is a limit of its tenant."""
    strategy = strategy_of("preemptive")
    low, high = waiting(0, 1, lane=lane(1, tenant="low")), waiting(1, 3, lane=lane(1, tenant="high"))

    def admits(task: Waiting) -> bool:
        return task.lane.tenant == "low"

    strategy.push(low, 0)
    assert strategy.pop(0, where(admits)) == low
    strategy.push(high, 1)
    assert strategy.pop(1, where(admits)) is None
    attempt = running(0, 1, lane=low.lane)
    assert strategy.victims([attempt], 0, 1) == ["t-0"]
    strategy.ended(low, Usage(seconds=1.0, complete=False))
    strategy.reopen(Refuser.of(high.lane))
    strategy.push(low, 2)
    assert strategy.pop(2, where(admits)) == low
    assert strategy.victims([attempt], 0, 3) == []


def test_turns_alternate_on_a_model_that_takes_one_task_at_a_time() -> None:
    strategy = strategy_of("round_robin", time_slice_seconds=10.0)
    busy: list[Waiting] = []
    turns_had: list[str] = []
    for number in range(2):
        strategy.push(waiting(number, lane=lane(1, tenant=f"tenant-{number}")), 0)
    for turn in range(6):
        now_ms = 10_000 * turn
        while (task := strategy.pop(now_ms, where(lambda task: not busy))) is not None:
            busy.append(task)
            turns_had.append(task.task_id)
        attempt = running(int(busy[0].task_id[2:]), lane=busy[0].lane, started_ms=now_ms)
        assert strategy.victims([attempt], 1, now_ms + 10_000) == [attempt.task_id]
        ended = busy.pop()
        strategy.ended(ended, Usage(seconds=10.0, complete=False))
        strategy.push(replace(ended, queued_ms=now_ms + 10_000), now_ms + 10_000)
        for number in range(2):
            strategy.reopen(Refuser.of(lane(1, tenant=f"tenant-{number}")))
    assert turns_had == ["t-0", "t-1"] * 3


def test_what_ageing_started_is_not_stopped_again() -> None:
    strategy = strategy_of("preemptive", ageing_seconds=1.0, ageing_every=1)
    old, young = waiting(0, 1), waiting(1, 3, accepted_ms=5000)
    strategy.push(old, 0)
    strategy.push(young, 5000)
    assert strategy.pop(5000, anything) == old
    assert strategy.victims([], 0, 5000) == [], "its start is on its way to the log"
    assert strategy.victims([running(0, 1)], 0, 5000) == []
    strategy.ended(old, Usage(seconds=1.0))
    assert strategy.victims([running(0, 1)], 0, 5000) == ["t-0"], "its next attempt is one like any other"


def turns(*attempts: Running, waiting_tasks: int, free: int = 0, now_ms: int = 10_000) -> list[str]:
    """Who is asked under a slice of ten seconds."""
    strategy = strategy_of("round_robin", time_slice_seconds=10.0)
    for number in range(waiting_tasks):
        strategy.push(waiting(100 + number), 0)
    return strategy.victims(attempts, free, now_ms)


def test_a_turn_ends_after_its_slice_while_others_wait() -> None:
    assert turns(running(0), waiting_tasks=1) == ["t-0"]
    assert turns(running(0), waiting_tasks=1, now_ms=9_999) == []
    assert turns(running(0), waiting_tasks=0) == []


def test_as_many_turns_end_as_others_wait_for_the_longest_first() -> None:
    assert turns(running(2), running(0), running(1), waiting_tasks=2, now_ms=20_000) == ["t-0", "t-1"]
    assert turns(running(0, asked=True), running(1), waiting_tasks=1, now_ms=20_000) == []
    assert turns(running(0), running(1), waiting_tasks=2, free=1, now_ms=20_000) == ["t-0"]


def test_a_slice_cannot_end_what_cannot_go_on_elsewhere() -> None:
    assert turns(running(0, preemptible=False), waiting_tasks=3) == []


def test_a_turn_ends_for_those_behind_its_own_gate_too() -> None:
    strategy = strategy_of("round_robin", time_slice_seconds=10.0)
    strategy.push(waiting(9, lane=lane(1)), 0)
    assert strategy.pop(0, nothing) is None
    busy = [running(0, lane=lane(2)), running(1, lane=lane(1)), running(2, lane=lane(1))]
    assert strategy.victims(busy, 0, 20_000) == ["t-1"]
    assert strategy.victims([*busy, running(3, lane=lane(1), asked=True)], 0, 20_000) == []


def test_other_strategies_ask_nobody() -> None:
    for name in ("fifo", "priority", "shortest_job_first", "fair", "deadline"):
        strategy = strategy_of(name)
        strategy.push(waiting(9, 3), 0)
        assert strategy.victims([running(0, 1)], 0, 10**6) == []
