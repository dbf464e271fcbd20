"""The projector's pauses: none for a burst, enough under steady work."""

from hypothesis import given
from hypothesis import strategies as st

from projections.duty import Duty


def test_a_burst_after_idleness_is_free() -> None:
    duty = Duty(share=0.5, burst_seconds=0.06)
    assert [duty.rest_seconds(at, at + 0.01) for at in (100.0, 100.02, 100.04)] == [0.0, 0.0, 0.0]


@given(st.lists(st.floats(0.001, 0.5), min_size=1, max_size=50))
def test_steady_work_takes_its_share(batches: list[float]) -> None:
    duty = Duty(share=0.5, burst_seconds=0.06)
    now = worked = 0.0
    for seconds in batches:
        rest = duty.rest_seconds(now, now + seconds)
        assert rest >= 0
        worked += seconds
        now += seconds + rest
    assert worked <= 0.5 * now + 0.06 + 1e-9


def test_a_long_batch_is_not_held_against_the_next_for_ever() -> None:
    duty = Duty(share=0.5, burst_seconds=0.06)
    duty.rest_seconds(0.0, 10.0)
    assert duty.rest_seconds(100.0, 100.01) == 0.0
