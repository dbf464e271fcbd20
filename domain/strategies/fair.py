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
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from domain.strategies.closures import Closures, Group
from domain.strategies.heads import GroupedHeads, Heads, Key
from domain.strategies.lane_order import LaneOrderByGroup, Order
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
    #: The same tasks, to see what their lanes lie in.
    lanes: LaneOrderByGroup
    weight: float
    #: The round of `credit`: each later one adds a quantum for its weight.
    round: float
    #: What it may spend, in tokens or seconds; negative while it owes.
    credit: float = 0.0
    #: What it was charged for its weight: decides between tenants that are owed more than is remembered.
    served: float = 0.0
    waiting: int = 0
    running: int = 0
    #: The round in which it has paid, `served`, and since which step it stands there: its place among tenants.
    standing: tuple[float, float, int] = (-math.inf, 0.0, 0)
    #: Groups that it has lanes in, as of so many changes of the closures: those that are open.
    open_groups: list[Group] = field(default_factory=list)
    as_of: int = -1


@dataclass(slots=True)
class Rounds:
    """How far the rounds have come."""

    now: float = 0.0
    #: The round before which nothing is remembered.
    floor: float = -math.inf

    def reach(self, paid: float) -> None:
        """A tenant starts that has paid in this round."""
        if paid > self.now:
            self.now, self.floor = paid, paid - OWED_ROUNDS_MAX


class Standings(Heads[str | Group]):
    """Tenants, and groups by their first one, by standing.

    Those that are owed more rounds than are remembered are owed alike, and stand by what they were served. They are
    sorted out when they come up, since a round that passes concerns any number of tenants in closed groups.
    """

    def __init__(self, rounds: Rounds) -> None:
        super().__init__()
        self._rounds = rounds
        self._owed_most: Heads[str | Group] = Heads()

    def __len__(self) -> int:
        return super().__len__() + len(self._owed_most)

    def set(self, item: str | Group, key: Key) -> None:
        """See `Heads.set`."""
        self._owed_most.remove(item)
        super().set(item, key)

    def remove(self, item: str | Group) -> None:
        """See `Heads.remove`."""
        self._owed_most.remove(item)
        super().remove(item)

    def top(self) -> str | Group | None:
        """See `Heads.top`."""
        while (item := super().top()) is not None and (key := super().key(item))[0] <= self._rounds.floor:
            super().remove(item)
            self._owed_most.set(item, key[1:])
        return item if not len(self._owed_most) else self._owed_most.top()

    def key(self, item: str | Group) -> Key:
        """See `Heads.key`."""
        return (self._rounds.floor, *self._owed_most.key(item)) if item in self._owed_most else super().key(item)


class DeficitRoundRobin:
    """See `Order`. `make_order` makes the order of tasks within one tenant, and the part of it that knows their groups.

    A tenant stands in each group in which it has lanes.
    """

    def __init__(
        self,
        make_order: Callable[[], tuple[Order, LaneOrderByGroup]],
        closures: Closures,
        weights: Callable[[str], float],
        expected: Expected,
        actual: Actual,
        quantum: float,
    ) -> None:
        self._make_order, self._closures, self._weights = make_order, closures, weights
        self._expected, self._actual = expected, actual
        self._quantum = quantum
        self._rounds = Rounds(floor=-OWED_ROUNDS_MAX)
        self._served = 0.0
        self._accounts: dict[str, Account] = {}
        self._heads: GroupedHeads[str] = GroupedHeads(lambda: Standings(self._rounds))
        self._step = 0
        #: Tenants in closed groups whose standing there is not the present one: see `turned`.
        self._stale: WeakKeyDictionary[Group, dict[str, None]] = WeakKeyDictionary()
        #: Tenants of which nothing waits, the one that is idle for longest first.
        self._idle: dict[str, None] = {}
        #: What running attempts were charged at their start.
        self._charged: dict[str, float] = {}

    def add(self, task: Waiting) -> None:
        """See `Order.add`."""
        tenant = task.lane.tenant
        account = self._accounts.get(tenant)
        if account is None:
            account = self._accounts[tenant] = Account(*self._make_order(), self._weight(tenant), self._rounds.now)
        if not account.waiting:
            # It was idle: what it owes was paid off round by round, but nothing was saved.
            self._bring_up(tenant, account)
            account.credit = min(account.credit, 0.0)
            account.served = max(account.served, self._served)
            self._idle.pop(tenant, None)
        account.waiting += 1
        account.order.add(task)
        self._set_head(tenant, account)
        self._check(tenant, account, self._closures.groups.get(task.lane))

    def remove(self, task: Waiting) -> None:
        """See `Order.remove`."""
        tenant = task.lane.tenant
        account = self._accounts[tenant]
        account.waiting -= 1
        account.order.remove(task)
        self._set_head(tenant, account)
        self._check(tenant, account, self._closures.groups.get(task.lane))
        if not account.waiting:
            self._idle_from_now_on(tenant)

    def moved(self, item: Lane | Group, before: Group | None) -> None:
        """See `Order.moved`."""
        if isinstance(item, Group):
            self._heads.group_moved(item, before)
        elif (account := self._accounts.get(item.tenant)) is not None:
            account.order.moved(item, before)
            for group in (before, self._closures.groups.get(item)):
                self._check(item.tenant, account, group)

    def turned(self, group: Group) -> None:
        """See `Order.turned`."""
        if group.is_open:
            for tenant in self._stale.pop(group, ()):
                if (account := self._accounts.get(tenant)) is not None:
                    self._check(tenant, account, group)
        self._heads.turned(group)

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
        paid = self._paid(account)
        if paid < self._rounds.floor:
            account.credit -= (self._rounds.floor - paid) * self._grant(account)
        self._rounds.reach(paid)
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
        paid = self._paid(account)
        if (paid, account.served) == account.standing[:2]:
            return
        self._step += 1
        account.standing = (paid, account.served, self._step)
        if account.lanes.waits_in(None):
            self._heads.set(tenant, None, account.standing)
        if account.as_of != self._closures.changes:
            account.as_of = self._closures.changes
            account.open_groups = [group for group in account.lanes.groups() if group.is_open]
            for group in account.lanes.groups():
                if not group.is_open:
                    self._stale.setdefault(group, {})[tenant] = None
        for group in account.open_groups:
            self._check(tenant, account, group)

    def _check(self, tenant: str, account: Account, group: Group | None) -> None:
        """The tenant stands in a group while it has lanes in it."""
        if account.lanes.waits_in(group):
            self._heads.set(tenant, group, account.standing)
        else:
            self._heads.remove(tenant, group)

    def _paid(self, account: Account) -> float:
        """The round in which it owes nothing any more."""
        # A hair less, so that an error of the last digit does not cost a round.
        return account.round + math.ceil(-account.credit / self._grant(account) - 1e-9)

    def _bring_up(self, tenant: str, account: Account) -> None:
        """Grant the rounds that have passed, and let a changed weight count from now on."""
        account.credit += (self._rounds.now - account.round) * self._grant(account)
        account.round = self._rounds.now
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
