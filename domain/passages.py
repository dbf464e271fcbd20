"""What has passed for each lane while it was open, and for how long it was closed, by cause.

The lanes that one refuser closed are a group, as in the strategies: to close or to open it costs the same however many
they are. A lane or a group counts what passes in what it lies within, while that reaches it; so what has passed for a
lane is a sum of differences along its path, of which there are at most a handful. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakKeyDictionary

from domain.strategies.closures import Closures, Group
from domain.strategies.strategy import Lane, Refuser

#: Sums that only grow; the first one is the time in which anything could start at all.
Sums = tuple[float, ...]
#: Sums, and the time of being closed, by cause.
Passed = tuple[Sums, Mapping[str, float]]

_LIVE: Final = 0
_NEVER: Final[Mapping[str, float]] = {}


@dataclass(slots=True)
class _Share:
    """The integral of the share of the slots that a tenant occupies, over one of the sums."""

    running: int
    since: float
    sum: float = 0.0
    #: Lanes of the tenant right within the group.
    lanes: int = 0

    def until(self, measure: float, slots: int) -> float:
        return self.sum + self.running * (measure - self.since) / slots


@dataclass(slots=True)
class _Account:
    """What had passed for a group or a lane at its last change, and what had passed around it then."""

    passed: Passed
    around: Passed
    #: The first of the sums then.
    live: float
    #: A lane's: the share of its own tenant, in the same two places.
    own: float = 0.0
    own_around: float = 0.0


@dataclass(slots=True)
class Passages:
    """For the lanes that have joined. `sums` are the caller's, who lets them grow; `measured` is the place of one of
    them, over which the share of the slots is integrated that each tenant occupies.
    """

    sums: list[float]
    measured: int
    slots: int
    _closures: Closures = field(default_factory=Closures)
    _groups: WeakKeyDictionary[Group, _Account] = field(default_factory=WeakKeyDictionary)
    #: Only of lanes that were refused: for the others, all passes.
    _lanes: dict[Lane, _Account] = field(default_factory=dict)
    #: By tenant, and by what its lanes lie right within.
    _shares: dict[str, dict[Group | None, _Share]] = field(default_factory=dict)

    def close(self, lane: Lane, refuser: Refuser) -> None:
        """The refuser has refused the lane: all lanes that it has refused are closed."""
        before = self._closures.groups.get(lane)
        known = self._closures.group(refuser)
        touched = {group: self._of_group(group) for group in (*_path(before), *_path(known))}
        lane_passed, own = self._of_lane(lane), self._own(lane)
        group, _ = self._closures.close(refuser)
        if group not in touched:
            touched[group] = ((0.0,) * len(self.sums), _NEVER)
        moved = self._closures.place(lane, group)
        for each, passed in touched.items():
            around = self._root() if each.parent is None else touched[each.parent]
            self._groups[each] = _Account(passed, around, self.sums[_LIVE])
        if moved is not None and moved[0] is lane:
            self._leave(lane.tenant, before)
            own_around = self._join(lane.tenant, group)
            self._lanes[lane] = _Account(lane_passed, touched[group], self.sums[_LIVE], own, own_around)

    def open(self, refuser: Refuser) -> None:
        """It may refuse no more."""
        group = self._closures.group(refuser)
        if group is not None and not group.is_open:
            passed = self._of_group(group)
            self._closures.open(refuser)
            self._groups[group] = _Account(passed, self._of_group(group.parent), self.sums[_LIVE])

    def forget(self, lane: Lane) -> None:
        """Nobody will ask for the lane any more, or all begins anew for it."""
        if self._lanes.pop(lane, None) is not None:
            self._leave(lane.tenant, self._closures.groups.get(lane))
            self._closures.forget(lane)

    def closed(self) -> dict[Lane, Refuser]:
        """Lanes that are closed, and by what."""
        found = {}
        for lane, inner in self._closures.groups.items():
            closed_by = next((group.refuser for group in inner.path() if not group.is_open), None)
            if closed_by is not None:
                found[lane] = closed_by
        return found

    def of(self, lane: Lane) -> Passed:
        """What has passed for the lane: the sums while it was open with the share of its tenant, and while closed."""
        sums, closed = self._of_lane(lane)
        return (*sums, self._own(lane)), closed

    def occupy(self, tenant: str, by: int) -> None:
        """The tenant occupies so many slots more."""
        shares = self._shares.get(tenant)
        if shares is None:
            shares = self._shares[tenant] = {None: _Share(0, self.sums[self.measured])}
        for group, share in shares.items():
            measure = self._of_group(group)[0][self.measured]
            share.sum, share.since = share.until(measure, self.slots), measure
            share.running += by

    def _own(self, lane: Lane) -> float:
        """The share of the slots that the lane's tenant had while the lane was open."""
        account = self._lanes.get(lane) if self._lanes else None
        if account is None:
            shares = self._shares.get(lane.tenant)
            return 0.0 if shares is None else shares[None].until(self.sums[self.measured], self.slots)
        return account.own + self._own_in(lane.tenant, self._closures.groups[lane]) - account.own_around

    def _own_in(self, tenant: str, group: Group) -> float:
        return self._shares[tenant][group].until(self._of_group(group)[0][self.measured], self.slots)

    def _join(self, tenant: str, group: Group) -> float:
        """One more lane of the tenant lies in the group; what its share of that has come to."""
        shares = self._shares.setdefault(tenant, {None: _Share(0, self.sums[self.measured])})
        if group not in shares:
            shares[group] = _Share(shares[None].running, self._of_group(group)[0][self.measured])
        shares[group].lanes += 1
        return self._own_in(tenant, group)

    def _leave(self, tenant: str, group: Group | None) -> None:
        if group is None:
            return
        share = self._shares[tenant][group]
        share.lanes -= 1
        if not share.lanes:
            del self._shares[tenant][group]

    def _root(self) -> Passed:
        return tuple(self.sums), _NEVER

    def _of_lane(self, lane: Lane) -> Passed:
        account = self._lanes.get(lane) if self._lanes else None
        if account is None:
            return self._root()
        return _since(account, self._of_group(self._closures.groups[lane]))

    def _of_group(self, group: Group | None) -> Passed:
        if group is None:
            return self._root()
        account = self._groups[group]
        if group.is_open:
            return _since(account, self._of_group(group.parent))
        sums, closed = account.passed
        cause = group.refuser.cause
        return sums, {**closed, cause: closed.get(cause, 0.0) + self.sums[_LIVE] - account.live}


def _since(account: _Account, around: Passed) -> Passed:
    """What has passed for it, now that so much has passed around it."""
    sums = tuple(a + b - c for a, b, c in zip(account.passed[0], around[0], account.around[0], strict=True))
    closed, before = account.passed[1], account.around[1]
    if around[1]:
        causes = closed.keys() | around[1].keys()
        closed = {each: closed.get(each, 0.0) + around[1].get(each, 0.0) - before.get(each, 0.0) for each in causes}
    return sums, closed


def _path(group: Group | None) -> Iterator[Group]:
    return iter(()) if group is None else group.path()
