import itertools

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.load import make_load
from tests.chaos.plan import ALWAYS, BROKER_REST_SECONDS, make_plan

SEEDS = st.integers(0, 2**32)


@given(SEEDS)
def test_the_same_seed_breaks_the_same_things(seed: int) -> None:
    assert make_plan(seed, 60, 3) == make_plan(seed, 60, 3)
    assert make_plan(seed, 60, 3) != make_plan(seed + 1, 60, 3)


@given(SEEDS, st.floats(30, 600), st.floats(1, 5))
def test_every_plan_strikes_what_the_promises_are_about(seed: int, seconds: float, pace: float) -> None:
    plan = make_plan(seed, seconds, pace)
    if len(plan) >= len(ALWAYS):
        struck = {(blow.deed, blow.role) for blow in plan}
        assert struck >= {(deed, role) for deed, role, _ in ALWAYS}
    assert all(0 <= blow.at_seconds <= seconds for blow in plan)
    assert [blow.at_seconds for blow in plan] == sorted(blow.at_seconds for blow in plan)


@given(SEEDS)
def test_the_broker_gets_time_to_come_back(seed: int) -> None:
    """But for the one blow that every plan has, whenever it falls."""
    at = [blow.at_seconds for blow in make_plan(seed, 300, 2) if blow.role == "kafka"]
    close = sum(later - earlier < BROKER_REST_SECONDS for earlier, later in itertools.pairwise(at))
    assert close <= 1


@given(SEEDS)
def test_the_same_seed_brings_the_same_tasks(seed: int) -> None:
    loads = [make_load(seed, 200, 30, tenant="t", ledger="l") for _ in range(2)]
    assert loads[0] == loads[1]
    assert len(loads[0]) == 200
