"""When a role that died is started again."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from penstock.restarts import (
    CRASH_LOOP_DELAY_SECONDS,
    CRASH_LOOP_EXITS,
    CRASH_LOOP_WINDOW_SECONDS,
    DELAY_FIRST_SECONDS,
    DELAY_MAX_SECONDS,
    remembered,
    verdict,
)


def test_the_first_restart_is_quick_and_each_further_one_waits_longer() -> None:
    delays = [verdict([100.0] * exits, 100.0).after_seconds for exits in range(1, CRASH_LOOP_EXITS)]
    assert delays[0] == DELAY_FIRST_SECONDS
    assert all(later > earlier for earlier, later in pairwise(delays))


def test_dying_often_within_the_window_is_a_crash_loop_and_still_tried_again() -> None:
    restart = verdict([float(second) for second in range(CRASH_LOOP_EXITS)], CRASH_LOOP_EXITS - 1.0)
    assert restart.is_crash_loop
    assert restart.after_seconds == CRASH_LOOP_DELAY_SECONDS


def test_exits_of_long_ago_are_forgiven() -> None:
    now = 10 * CRASH_LOOP_WINDOW_SECONDS
    restart = verdict([*range(CRASH_LOOP_EXITS), now], now)
    assert (restart.is_crash_loop, restart.after_seconds) == (False, DELAY_FIRST_SECONDS)


@given(st.lists(st.floats(0, 1000), max_size=50), st.floats(0, 1000))
def test_a_delay_is_bounded_and_forgetting_changes_no_verdict(exits_at: list[float], now: float) -> None:
    exits_at = sorted(each for each in exits_at if each <= now)
    restart = verdict(exits_at, now)
    assert DELAY_FIRST_SECONDS <= restart.after_seconds <= max(DELAY_MAX_SECONDS, CRASH_LOOP_DELAY_SECONDS)
    assert verdict(remembered(exits_at, now), now) == restart
    assert len(remembered(exits_at, now)) <= CRASH_LOOP_EXITS
