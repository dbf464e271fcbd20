"""The table's rule, whatever holders say."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.limits.exchange import Ask, Block, Buckets, Lease, RateAsk, Terms, concerns_others, exchange
from domain.limits.limit import Key, Limit

KEY = Key("tenant", "acme")
TERMS = Terms()
amounts = st.floats(0, 200)
rate_asks = st.builds(RateAsk, kept=amounts, wanted=amounts, credited=st.floats(-500, 500))
asks = st.builds(
    Ask,
    key=st.just(KEY),
    limit=st.just(Limit(concurrency=5, requests_per_minute=60, tokens_per_minute=100)),
    held=st.integers(0, 9),
    wanted=st.integers(0, 9),
    requests=rate_asks,
    tokens=rate_asks,
)


@given(st.lists(st.tuples(st.sampled_from("abcd"), asks, st.floats(0, 8)), max_size=40))
@settings(max_examples=300, deadline=None)
def test_leases_that_last_never_add_up_to_more_than_there_is(said: list[tuple[str, Ask, float]]) -> None:
    leases: dict[str, Lease] = {}
    buckets, now = Buckets(), 1000.0
    for serial, (holder, ask, seconds) in enumerate(said):
        now += seconds
        leases[holder], buckets, answer = exchange(ask, holder, serial, list(leases.values()), buckets, now, TERMS)
        lasting = [lease for lease in leases.values() if lease.expires_at > now]
        assert sum(lease.granted for lease in lasting) <= 5
        assert answer.granted == leases[holder].granted
        assert buckets.requests is not None
        assert buckets.tokens is not None
        assert sum(lease.requests.held for lease in lasting) + buckets.requests.level <= 60 + 1e-6
        assert sum(lease.tokens.held for lease in lasting) + buckets.tokens.level <= 100 + 1e-6


@given(asks, asks, st.floats(0, 4))
def test_a_holder_keeps_what_it_holds_while_its_lease_lasts(first: Ask, then: Ask, seconds: float) -> None:
    """Whatever others want: what runs is not taken away."""
    lease, buckets, answer = exchange(first, "a", 1, [], Buckets(), 1000.0, TERMS)
    hungry = Lease(holder="b", serial=1, wanted=9, expires_at=2000.0)
    _, _, later = exchange(then, "a", 2, [lease, hungry], buckets, 1000.0 + seconds, TERMS)
    assert later.granted >= min(answer.granted, then.held)


def test_an_answer_that_was_lost_leaves_nothing_counted_twice() -> None:
    def ask(kept: float, credited: float) -> Ask:
        limit = Limit(tokens_per_minute=100)
        return Ask(key=KEY, limit=limit, tokens=RateAsk(kept=kept, wanted=0.0, credited=credited))

    lease, buckets, _ = exchange(
        Ask(key=KEY, limit=Limit(tokens_per_minute=100), tokens=RateAsk(wanted=80)),
        "a",
        1,
        [],
        Buckets(),
        1000.0,
        TERMS,
    )
    lease, buckets, _ = exchange(ask(0.0, 30.0), "a", 2, [lease], buckets, 1000.0, TERMS)
    lease, buckets, _ = exchange(ask(0.0, 30.0), "a", 3, [lease], buckets, 1000.0, TERMS)
    assert buckets.tokens is not None
    assert buckets.tokens.level == pytest.approx(50.0)


def test_a_clock_that_is_set_back_ends_no_lease_and_fills_no_bucket() -> None:
    ask = Ask(key=KEY, limit=Limit(concurrency=1, tokens_per_minute=100), wanted=1, tokens=RateAsk(wanted=100))
    lease, buckets, _ = exchange(ask, "a", 1, [], Buckets(), 1000.0, TERMS)
    _, buckets, answer = exchange(ask, "b", 1, [lease], buckets, 500.0, TERMS)
    assert (answer.granted, answer.tokens.held) == (0, 0.0)


def test_whoever_has_waited_longer_for_a_bucket_is_served_first() -> None:
    limit = Limit(tokens_per_minute=60)
    before = Lease(holder="old", serial=1, tokens=Block(held=0.0, wanted=50.0, waiting_since=900.0), expires_at=2000.0)
    ask = Ask(key=KEY, limit=limit, tokens=RateAsk(wanted=30))
    _, _, answer = exchange(ask, "young", 1, [before], Buckets(), 1000.0, TERMS)
    assert answer.tokens.held == pytest.approx(10.0)
    assert answer.tokens.ready_in_seconds == pytest.approx(20.0)


def test_with_nothing_a_minute_nothing_comes() -> None:
    ask = Ask(key=KEY, limit=Limit(concurrency=0, requests_per_minute=0), wanted=1, requests=RateAsk(wanted=1))
    _, _, answer = exchange(ask, "a", 1, [], Buckets(), 1000.0, TERMS)
    assert (answer.granted, answer.requests.held) == (0, 0.0)


def test_others_are_told_of_new_hunger_and_of_what_they_can_have() -> None:
    def after(before: Lease | None, ask: Ask, others: list[Lease]) -> bool:
        known = [*others, before] if before is not None else others
        lease, _, answer = exchange(ask, "a", 2, known, Buckets(), 1000.0, TERMS)
        return concerns_others(before, lease, answer)

    def ask(held: int, wanted: int) -> Ask:
        return Ask(key=KEY, limit=Limit(concurrency=2), held=held, wanted=wanted)

    mine = Lease(holder="a", serial=1, granted=1, wanted=1, expires_at=2000.0)
    sated = Lease(holder="b", serial=1, granted=1, wanted=1, expires_at=2000.0)
    hungry = Lease(holder="b", serial=1, granted=1, wanted=2, expires_at=2000.0)
    assert after(mine, ask(1, 2), [sated])
    assert not after(Lease(holder="a", serial=1, granted=1, wanted=2, expires_at=2000.0), ask(1, 2), [sated])
    assert after(mine, ask(0, 0), [hungry])
    assert not after(mine, ask(0, 0), [sated])


def test_terms_leave_time_to_renew() -> None:
    assert Terms.lasting(6.0).renew_seconds == 1.0
    assert Terms.lasting(4.0).renew_seconds < 2.0
    with pytest.raises(ValueError, match="renewed"):
        Terms(lease_seconds=2.0, margin_seconds=2.0)
