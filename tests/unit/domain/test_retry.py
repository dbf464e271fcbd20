from hypothesis import given
from hypothesis import strategies as st

from domain.retry import RetryPolicy

POLICIES = st.builds(RetryPolicy, st.floats(0.001, 1e6), st.floats(0.001, 1e6), st.floats(0, 1e6))


@given(POLICIES, st.integers(1, 10_000), st.floats(0, 1), st.floats(0, 1e9))
def test_the_wait_stays_in_bounds(policy: RetryPolicy, failures: int, jitter: float, asked_seconds: float) -> None:
    assert 0 <= policy.backoff_seconds(failures, jitter) <= policy.delay_seconds_max
    assert policy.backoff_seconds(failures, jitter, asked_seconds) <= max(
        policy.delay_seconds_max, policy.retry_after_seconds_max
    )


@given(POLICIES, st.integers(1, 10_000))
def test_the_ceiling_never_falls(policy: RetryPolicy, failures: int) -> None:
    assert policy.ceiling_seconds(failures) <= policy.ceiling_seconds(failures + 1) <= policy.delay_seconds_max


def test_the_ceiling_doubles_up_to_its_bound() -> None:
    policy = RetryPolicy(delay_seconds=60, delay_seconds_max=300)
    assert [policy.ceiling_seconds(failures) for failures in (1, 2, 3, 4, 5)] == [60, 120, 240, 300, 300]


def test_jitter_spreads_from_nothing_to_the_ceiling() -> None:
    policy = RetryPolicy(delay_seconds=60, delay_seconds_max=300)
    assert [policy.backoff_seconds(2, jitter) for jitter in (0, 0.5, 1)] == [0, 60, 120]


def test_retry_after_is_neither_undercut_nor_overdone() -> None:
    policy = RetryPolicy(delay_seconds=60, retry_after_seconds_max=100)
    assert [policy.backoff_seconds(3, jitter, 0.5) for jitter in (0.0, 1.0)] == [0.5, 0.5]
    assert policy.backoff_seconds(1, 1.0, 1000.0) == 100


def test_who_is_refused_again_keeps_to_what_was_asked_but_is_not_back_at_once() -> None:
    policy = RetryPolicy()
    assert [policy.put_off_seconds(times, 0.25) for times in (1, 2, 9)] == [0.25, 1.0, 1.0]
    assert [policy.put_off_seconds(times, 40.0) for times in (1, 9)] == [40.0, 40.0]


@given(POLICIES, st.integers(1, 10_000), st.floats())
def test_being_put_off_has_an_end(policy: RetryPolicy, refusals: int, asked_seconds: float) -> None:
    longest = max(policy.put_off_seconds_max, policy.refusal_seconds_max)
    assert 0 < policy.put_off_seconds(refusals, asked_seconds) <= longest
