"""Deficit round robin over tenants: each round grants a tenant a quantum for its weight, to be spent on starts.

A tenant may start a task as long as it owes nothing. The start is charged what the task is expected to cost, and its
end corrects the charge by what it did cost: shares follow actual use, however wrong the estimates are. A turn may
overdraw, so that a wrong estimate delays nobody before anything is known. Rounds in which all owe are skipped by
arithmetic: tenants are kept in a heap by the round in which they have paid, so that a start costs O(log n) whatever
the quantum.

Source: M. Shreedhar, G. Varghese, "Efficient Fair Queuing Using Deficit Round-Robin", IEEE/ACM ToN 4(3), 1996; and, for
turns that overdraw, H. Adiseshu, G. Parulkar, G. Varghese, "A Reliable and Scalable Striping Protocol", SIGCOMM 1996.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from domain.strategies.lane_order import Heads, Order
from domain.strategies.strategy import Lane, Usage, Waiting

#: A start costs at least so much of a quantum, and a weight is at least so much: nothing is free for ever.
LEAST = 1e-6
#: Rounds of which a tenant that waits behind closed limits keeps its grants: bounds how long it catches up.
OWED_ROUNDS_MAX = 1000
#: Idle tenants whose account is kept.
IDLE_MAX = 1000

#: What the task will cost, by what is known before its start.
Expected = Callable[[Waiting], float]
#: What an attempt did cost; None where nobody counted.
Actual = Callable[[Usage], float | None]


@dataclass(slots=True, eq=False)
class Account:
    """What one tenant is granted and charged."""

    #: Its waiting tasks.
    order: Order
    weight: float
    #: The round of `credit`: each later one adds a quantum for its weight.
    round: float
    #: What it may spend, in tokens or seconds; negative while it owes.
    credit: float = 0.0
    #: What it was charged for its weight: decides between tenants that are owed more than is remembered.
    served: float = 0.0
    waiting: int = 0
    running: int = 0


class DeficitRoundRobin:
    """See `Order`. `make_order` makes the order of tasks within one tenant."""

    def __init__(
        self,
        make_order: Callable[[], Order],
        weights: Callable[[str], float],
        expected: Expected,
        actual: Actual,
        quantum: float,
    ) -> None:
        self._make_order, self._weights = make_order, weights
        self._expected, self._actual = expected, actual
        self._quantum = quantum
        self._round = 0.0
        self._served = 0.0
        self._accounts: dict[str, Account] = {}
        self._heads: Heads[str] = Heads()
        #: Tenants of which nothing waits, the one that is idle for longest first.
        self._idle: dict[str, None] = {}
        #: What running attempts were charged at their start.
        self._charged: dict[str, float] = {}

    def add(self, task: Waiting) -> None:
        """See `Order.add`."""
        tenant = task.lane.tenant
        account = self._accounts.get(tenant)
        if account is None:
            account = self._accounts[tenant] = Account(self._make_order(), self._weight(tenant), self._round)
        if not account.waiting:
            # It was idle: what it owes was paid off round by round, but nothing was saved.
            self._bring_up(tenant, account)
            account.credit = min(account.credit, 0.0)
            account.served = max(account.served, self._served)
            self._idle.pop(tenant, None)
        account.waiting += 1
        account.order.add(task)
        self._set_head(tenant, account)

    def remove(self, task: Waiting) -> None:
        """See `Order.remove`."""
        tenant = task.lane.tenant
        account = self._accounts[tenant]
        account.waiting -= 1
        account.order.remove(task)
        self._set_head(tenant, account)
        if not account.waiting:
            self._idle_from_now_on(tenant)

    def refresh(self, lane: Lane) -> None:
        """See `Order.refresh`."""
        account = self._accounts.get(lane.tenant)
        if account is None:
            return
        was_closed = lane.tenant not in self._heads
        account.order.refresh(lane)
        self._set_head(lane.tenant, account)
        if was_closed and lane.tenant in self._heads:
            behind = self._round - OWED_ROUNDS_MAX - self._heads.key(lane.tenant)[0]
            if behind > 0:
                account.credit -= behind * self._grant(account)
                self._set_head(lane.tenant, account)

    def choose(self, now_ms: int) -> Waiting | None:
        """See `Order.choose`."""
        tenant = self._heads.top()
        return None if tenant is None else self._accounts[tenant].order.choose(now_ms)

    def by_age(self, task: Waiting) -> bool:
        """See `Order.by_age`."""
        return False

    def started(self, task: Waiting) -> None:
        """See `Order.started`."""
        tenant = task.lane.tenant
        account = self._accounts[tenant]
        self._round = max(self._round, self._heads.key(tenant)[0])
        self._served = max(self._served, account.served)
        self._bring_up(tenant, account)
        if task.task_id not in self._charged:
            account.running += 1
        cost = self._charged[task.task_id] = self._cost(self._expected(task))
        self._charge(account, cost)
        account.order.started(task)

    def ended(self, task: Waiting, usage: Usage) -> None:
        """See `Order.ended`. What was started before this strategy was chosen is charged to nobody."""
        charged = self._charged.pop(task.task_id, None)
        account = self._accounts.get(task.lane.tenant)
        if charged is None or account is None:
            return
        account.running -= 1
        if (actual := self._actual(usage)) is not None:
            self._charge(account, self._cost(actual) - charged)
            self._set_head(task.lane.tenant, account)

    def _charge(self, account: Account, cost: float) -> None:
        account.credit -= cost
        account.served += cost / account.weight

    def _set_head(self, tenant: str, account: Account) -> None:
        if account.order.choose(0) is None:
            self._heads.remove(tenant)
            return
        # A hair less, so that an error of the last digit does not cost a round.
        paid = account.round + math.ceil(-account.credit / self._grant(account) - 1e-9)
        self._heads.set(tenant, (paid, account.served))

    def _bring_up(self, tenant: str, account: Account) -> None:
        """Grant the rounds that have passed, and let a changed weight count from now on."""
        account.credit += (self._round - account.round) * self._grant(account)
        account.round = self._round
        account.weight = self._weight(tenant)

    def _grant(self, account: Account) -> float:
        return self._quantum * account.weight

    def _weight(self, tenant: str) -> float:
        return max(self._weights(tenant), LEAST)

    def _cost(self, amount: float) -> float:
        return max(amount, self._quantum * LEAST)

    def _idle_from_now_on(self, tenant: str) -> None:
        """What idle tenants owe is remembered of the latest ones only: names of tenants are without bound."""
        self._idle[tenant] = None
        while len(self._idle) > IDLE_MAX:
            longest = next(iter(self._idle))
            del self._idle[longest]
            if self._accounts[longest].running:
                self._idle[longest] = None
                return
            del self._accounts[longest]
