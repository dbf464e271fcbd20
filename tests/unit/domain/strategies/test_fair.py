"""Shares of tenants: what each one was given of the service, whatever its tasks and its estimates are like."""

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from domain.strategies.estimates import Estimates
from domain.strategies.strategy import Lane, Refuser, Strategy, Usage, Waiting
from tests.support.strategies import anything, lane, strategy_of, waiting, where


@dataclass(frozen=True)
class Tenant:
    """One that always has tasks waiting."""

    name: str
    weight: float
    #: Tokens of a task on average.
    tokens: float
    #: Estimated for one token used.
    factor: float = 1.0
    model: str = "m"

    @property
    def lane(self) -> Lane:
        """Where its tasks wait."""
        return lane(0, tenant=self.name, model=self.model)


class Load:
    """Tenants that keep a few tasks waiting each, and slots that all take one step at a time."""

    def __init__(self, tenants: list[Tenant], slots: int, seed: int, quantum: float = 1000.0) -> None:
        weights = {tenant.name: tenant.weight for tenant in tenants}
        self.strategy = strategy_of("fair", weights=weights, quantum=quantum)
        self.served: defaultdict[str, float] = defaultdict(float)
        self._tenants = {tenant.name: tenant for tenant in tenants}
        self._random = random.Random(seed)
        self._slots, self._numbers = slots, itertools.count()
        self._running: list[tuple[Waiting, float]] = []
        self._actual: dict[str, float] = {}

    def submit(self, tenant: Tenant) -> None:
        """One more task of the tenant waits."""
        tokens = tenant.tokens * self._random.uniform(0.2, 1.8)
        task = waiting(next(self._numbers), lane=tenant.lane, cost=tokens * tenant.factor)
        self._actual[task.task_id] = tokens
        self.strategy.push(task, 0)

    def run(self, tokens: float, admits: Callable[[Waiting], bool] = lambda task: True) -> None:
        """Serve until so many tokens more have been used; the first to start is the first to end."""
        target = sum(self.served.values()) + tokens
        while sum(self.served.values()) < target:
            while len(self._running) < self._slots and (task := self.strategy.pop(0, where(admits))) is not None:
                self._running.append((task, self._actual.pop(task.task_id)))
                self.submit(self._tenants[task.lane.tenant])
            task, used = self._running.pop(0)
            self.served[task.lane.tenant] += used
            self.strategy.ended(task, Usage(seconds=1.0, tokens=used))
            self.reopen()

    def reopen(self) -> None:
        """An end may have opened any lane."""
        for tenant in self._tenants.values():
            self.strategy.reopen(Refuser.of(tenant.lane))

    def running(self, model: str) -> int:
        """Attempts on the model."""
        return sum(task.lane.model == model for task, _ in self._running)

    def share(self, name: str) -> float:
        """Of all tokens used."""
        return self.served[name] / sum(self.served.values())


def contended(*tenants: Tenant, slots: int = 4, seed: int = 1) -> Load:
    """Three tasks of each tenant wait."""
    load = Load(list(tenants), slots, seed)
    for tenant in tenants:
        for _ in range(3):
            load.submit(tenant)
    return load


# Shrinking runs the whole load again and again; the first failure says enough.
@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    weights=st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=2, max_size=3),
    sizes=st.lists(st.sampled_from([100.0, 500.0]), min_size=3, max_size=3),
    factors=st.lists(st.sampled_from([0.05, 0.2, 1.0, 4.0, 20.0]), min_size=3, max_size=3),
    slots=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_service_is_within_five_percent_of_the_weights_however_wrong_estimates_are(
    weights: list[float], sizes: list[float], factors: list[float], slots: int, seed: int
) -> None:
    tenants = [
        Tenant(f"tenant-{number}", weight, size, factor)
        for number, (weight, size, factor) in enumerate(zip(weights, sizes, factors, strict=False))
    ]
    load = contended(*tenants, slots=slots, seed=seed)
    load.run(700_000)
    for tenant in tenants:
        assert load.share(tenant.name) == pytest.approx(tenant.weight / sum(weights), rel=0.05)


def test_prompts_of_twenty_times_the_size_do_not_buy_more_service() -> None:
    load = contended(Tenant("short", 1.0, 100.0), Tenant("long", 1.0, 2000.0))
    load.run(1_000_000)
    assert load.share("short") == pytest.approx(0.5, rel=0.05)


def test_shares_hold_behind_a_limit_that_tenants_have_in_common_while_others_run_beside_it() -> None:
    """The model of two tenants takes one task at a time; a third tenant has another one for itself."""
    heavy, light, other = (
        Tenant("heavy", 3.0, 500.0),
        Tenant("light", 1.0, 500.0),
        Tenant("other", 1.0, 50.0, model="n"),
    )
    load = contended(heavy, light, other, slots=4)
    load.run(1_500_000, admits=lambda task: task.lane.model != "m" or load.running("m") < 1)
    assert load.served["heavy"] / load.served["light"] == pytest.approx(3.0, rel=0.05)


def test_a_tenant_that_was_idle_has_saved_nothing() -> None:
    busy, idle = Tenant("busy", 1.0, 500.0), Tenant("idle", 1.0, 500.0)
    load = Load([busy, idle], slots=2, seed=1)
    for _ in range(3):
        load.submit(busy)
    load.run(500_000)
    load.served.clear()
    for _ in range(3):
        load.submit(idle)
    load.run(40_000)
    assert load.share("idle") < 0.55


def test_a_tenant_that_waited_behind_its_own_limit_catches_up_for_a_bounded_time_only() -> None:
    busy, limited = Tenant("busy", 1.0, 500.0), Tenant("limited", 1.0, 500.0)
    load = contended(busy, limited, slots=2)
    load.run(5_000_000, admits=lambda task: task.lane.tenant != "limited")
    load.served.clear()
    load.run(3_000_000)
    assert load.share("busy") > 0.2


def test_a_debt_is_paid_before_the_next_start_and_forgiven_by_no_pause() -> None:
    strategy = strategy_of("fair", quantum=100.0)
    cheat, honest = lane(0, tenant="cheat"), lane(0, tenant="honest")
    strategy.push(waiting(0, lane=cheat, cost=1.0), 0)
    started = strategy.pop(0, anything)
    assert started is not None
    strategy.ended(started, Usage(seconds=1.0, tokens=1000.0))
    for number in range(1, 21):
        strategy.push(waiting(number, lane=honest, cost=100.0), 0)
    strategy.push(waiting(50, lane=cheat, cost=1.0), 0)
    order = _owners(strategy)
    assert 9 <= order.index("cheat") <= 11


def test_a_changed_weight_counts_from_then_on() -> None:
    weights = {"a": 1.0, "b": 1.0}
    load = contended(Tenant("a", 1.0, 500.0), Tenant("b", 1.0, 500.0))
    load.strategy = strategy_of("fair", weights=weights)
    for tenant in list(load._tenants.values()) * 3:
        load.submit(tenant)
    load.run(500_000)
    weights["a"] = 4.0
    load.served.clear()
    load.run(500_000)
    assert load.share("a") == pytest.approx(0.8, rel=0.05)


def test_a_share_in_seconds_follows_what_tasks_took() -> None:
    learned = Estimates()
    strategy = strategy_of("fair", learned, cost="seconds")
    served: Counter[str] = Counter()
    seconds = {"slow": 10.0, "quick": 1.0}
    for number in range(60):
        for tenant in seconds:
            strategy.push(waiting(2 * number + (tenant == "slow"), lane=lane(0, tenant=tenant)), 0)
    for _ in range(60):
        task = strategy.pop(0, anything)
        assert task is not None
        served[task.lane.tenant] += int(seconds[task.lane.tenant])
        strategy.ended(task, Usage(seconds=seconds[task.lane.tenant]))
    assert served["slow"] == pytest.approx(served["quick"], rel=0.25)


def test_within_a_tenant_priority_decides_and_ages() -> None:
    strategy = strategy_of("fair", ageing_seconds=1.0, ageing_every=2)
    for number in range(4):
        strategy.push(waiting(number, 1), 0)
        strategy.push(waiting(10 + number, 3), 0)
    young = strategy.pop(0, anything)
    assert young is not None
    assert young.priority == 3
    aged = [strategy.pop(5000, anything) for _ in range(2)]
    assert {task.priority for task in aged if task is not None} == {1, 3}


def _owners(strategy: Strategy) -> list[str]:
    owners = []
    while (task := strategy.pop(0, anything)) is not None:
        owners.append(task.lane.tenant)
    return owners
