"""Fair shares of a limit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.limits.shares import Claimant, share_of

claimants = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9), st.floats(0, 1000)), min_size=1, max_size=6).map(
    lambda rows: [
        Claimant(holder=f"h{number}", granted=granted, wanted=wanted, served_at=served_at)
        for number, (granted, wanted, served_at) in enumerate(rows)
    ]
)


@given(st.integers(0, 12), claimants)
def test_nobody_is_given_more_than_it_wants_or_than_there_is(limit: int, known: list[Claimant]) -> None:
    for each in known:
        share = share_of(each.holder, limit, known, 1000.0, 1.0)
        assert 0 <= share.permits <= min(limit, each.wanted)
        assert share.permits + share.slack <= limit


@given(st.integers(0, 12), claimants)
def test_shares_of_those_who_hold_nothing_differ_by_one_at_most_and_leave_nothing_idle(
    limit: int, known: list[Claimant]
) -> None:
    fresh = [Claimant(holder=each.holder, granted=0, wanted=each.wanted, served_at=each.served_at) for each in known]
    shares = {each.holder: share_of(each.holder, limit, fresh, 1000.0, 1.0).permits for each in fresh}
    assert sum(shares.values()) == min(limit, sum(each.wanted for each in fresh))
    hungry = [shares[each.holder] for each in fresh if shares[each.holder] < each.wanted]
    assert not hungry or max(shares.values()) - min(hungry) <= 1


def test_whoever_was_served_longest_ago_is_next_once_turns_are_over() -> None:
    a = Claimant(holder="a", granted=1, wanted=2, served_at=999.5)
    b = Claimant(holder="b", granted=0, wanted=1, served_at=990.0)
    c = Claimant(holder="c", granted=0, wanted=1, served_at=980.0)
    assert [share_of(name, 1, [a, b, c], 1000.0, 1.0).permits for name in "abc"] == [1, 0, 0]
    assert share_of("a", 1, [a, b, c], 1001.0, 1.0).permits == 0
    freed = Claimant(holder="a", granted=0, wanted=2, served_at=999.5)
    assert [share_of(name, 1, [freed, b, c], 1001.0, 1.0).permits for name in "abc"] == [0, 0, 1]


def test_what_runs_above_a_share_is_not_there_to_be_shared() -> None:
    """A permit in long use must not count as the turn of others: whoever waits gets the one that comes free."""
    stuck = Claimant(holder="stuck", granted=1, wanted=2, served_at=900.0)
    busy = Claimant(holder="busy", granted=1, wanted=2, served_at=950.0)
    waiting = Claimant(holder="waiting", granted=0, wanted=1, served_at=0.0)
    known = [stuck, busy, waiting]
    assert share_of("busy", 2, known, 1000.0, 1.0).permits == 0
    gone = Claimant(holder="busy", granted=0, wanted=2, served_at=950.0)
    assert share_of("waiting", 2, [stuck, gone, waiting], 1000.0, 1.0).permits == 1


def test_what_nobody_wants_may_be_kept() -> None:
    idle = Claimant(holder="idle", granted=3, wanted=0)
    assert share_of("idle", 4, [idle], 1000.0, 1.0).slack == 4
    hungry = Claimant(holder="hungry", granted=1, wanted=4)
    assert share_of("idle", 4, [idle, hungry], 1000.0, 1.0).slack == 0
