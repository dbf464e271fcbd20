import itertools
from random import Random
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.simulation.jobs import MICROSECONDS
from domain.simulation.loads import LoadSpec, TenantLoad, make_load
from domain.simulation.metrics import fair_shares, jain, percentile, waits_of


def gaps(arrivals: str) -> list[float]:
    """Seconds between arrivals that come once a second on average."""
    jobs = make_load(LoadSpec(12_000, 1, 1.0, arrivals=arrivals), Random(1))
    moments = [job.arrives_us / MICROSECONDS for job in jobs]
    return [later - earlier for earlier, later in itertools.pairwise(moments)]


@pytest.mark.parametrize("arrivals", ["poisson", "bursty"])
def test_arrivals_come_as_often_as_asked_for(arrivals: str) -> None:
    assert fmean(gaps(arrivals)) == pytest.approx(1.0, rel=0.15)


def test_bursts_are_less_even_than_chance() -> None:
    assert pstdev(gaps("poisson")) == pytest.approx(1.0, rel=0.1)
    assert pstdev(gaps("bursty")) > 3.0


@pytest.mark.parametrize(("service", "tail"), [("exponential", 4.6), ("lognormal", 10.6), ("pareto", 7.2)])
def test_service_times_have_their_mean_and_their_tail(service: str, tail: float) -> None:
    """`tail` is the 99th percentile, in means, by the distribution's formula."""
    jobs = make_load(LoadSpec(30_000, 1, 1.0, service=service, mean_service_seconds=2.0), Random(2))
    seconds = sorted(job.service_us / MICROSECONDS for job in jobs)
    assert fmean(seconds) == pytest.approx(2.0, rel=0.1)
    assert percentile(seconds, 0.99) == pytest.approx(2.0 * tail, rel=0.1)


def test_tenants_have_their_share_of_arrivals_and_their_size() -> None:
    tenants = (TenantLoad("many", share=3.0), TenantLoad("large", size=20.0))
    jobs = make_load(LoadSpec(8_000, 1, 1.0, tenants=tenants), Random(3))
    many = [job.service_us for job in jobs if job.task.lane.tenant == "many"]
    large = [job.service_us for job in jobs if job.task.lane.tenant == "large"]
    assert len(many) / len(large) == pytest.approx(3.0, rel=0.1)
    assert fmean(large) / fmean(many) == pytest.approx(20.0, rel=0.15)


def test_percentiles_are_values_that_occurred() -> None:
    waits = waits_of([float(number) for number in range(1, 101)])
    assert (waits.p50_seconds, waits.p95_seconds, waits.p99_seconds, waits.max_seconds) == (50, 95, 99, 100)
    assert waits_of([]).p99_seconds == 0.0


@given(st.lists(st.floats(0.001, 1000), min_size=1))
def test_jain_lies_between_all_for_one_and_all_alike(shares: list[float]) -> None:
    assert 1 / len(shares) - 1e-9 <= jain(shares) <= 1 + 1e-9
    assert jain([shares[0]] * len(shares)) == pytest.approx(1.0)
    assert jain([shares[0]] + [0.0] * 3) == pytest.approx(0.25)


@given(
    tenants=st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(0.1, 5.0)), min_size=1, max_size=6),
    capacity=st.floats(0.0, 300.0),
)
def test_fair_shares_give_all_there_is_and_nobody_more_than_asked(
    tenants: list[tuple[float, float]], capacity: float
) -> None:
    asked = {str(number): amount for number, (amount, _) in enumerate(tenants)}
    weights = {str(number): weight for number, (_, weight) in enumerate(tenants)}
    shares = fair_shares(asked, weights, capacity)
    assert sum(shares.values()) == pytest.approx(min(capacity, sum(asked.values())), abs=1e-6)
    level = max(shares[name] / weights[name] for name in shares)
    for name, amount in asked.items():
        assert shares[name] <= amount + 1e-6
        if shares[name] < amount - 1e-6:
            assert shares[name] / weights[name] == pytest.approx(level, abs=1e-6), "who wants more is at the top level"
