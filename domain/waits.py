"""What a task waits for, in milliseconds by cause, at a cost that does not depend on how many wait.

Every moment of a wait in a window has one cause. While its lane is closed, that is what closed it. While its lane is
open and all slots are taken, the share of the slots that run more urgent work counts as `priority` (under a fair
strategy: the share that runs other tenants' work as `fairness`), and the rest as `concurrency`. While shards change
hands it is `recovery`. The ledger keeps the sums of all that since its beginning: a task notes them when it comes and
takes the difference when it starts. Pure: times are milliseconds on one clock, which must not run backwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from domain.passages import Passages, Sums
from domain.priority import Priority
from domain.strategies.strategy import Lane, Refuser

#: On its way: to the log, to its owner, through the event loop.
DELIVERY: Final = "delivery"
#: More urgent work had the slots.
PRIORITY: Final = "priority"
#: Other tenants had their turn.
FAIRNESS: Final = "fairness"
#: As much ran as may: all slots, or all permits of a limit, were taken.
CONCURRENCY: Final = "concurrency"
#: Requests or tokens of the minute were used up, or a provider asked to be left alone.
RATE_LIMIT: Final = "rate_limit"
#: Not enough memory was free.
MEMORY: Final = "memory"
#: Its model was not loaded yet.
MODEL_LOADING: Final = "model_loading"
#: Until a retry was due, or while a provider that fails is left alone.
BACKOFF: Final = "backoff"
#: Until a time, a place in the queue, or other tasks: outside every window.
HELD: Final = "held"
#: Its class, model or tenant was paused, or its model offline.
PAUSED: Final = "paused"
#: No worker owned its shard, or the one that took it over read what had happened; suspects wait for one another too.
RECOVERY: Final = "recovery"

CAUSES: Final = (
    DELIVERY,
    PRIORITY,
    FAIRNESS,
    CONCURRENCY,
    RATE_LIMIT,
    MEMORY,
    MODEL_LOADING,
    BACKOFF,
    HELD,
    PAUSED,
    RECOVERY,
)


#: Sums since the ledger's beginning, in this order: time in which anything could start at all; time with all slots
#: taken, under a strategy by urgency; the same under a fair one; of the former, the shares of the slots that each
#: priority occupied; of the latter, the share that the lane's own tenant occupied.
_LIVE, _RANKED, _FAIR, _FIRST_PRIORITY = 0, 1, 2, 3
_OWN = _FIRST_PRIORITY + len(Priority)


@dataclass(frozen=True, slots=True)
class Mark:
    """The sums at the moment at which a task began to wait in a lane."""

    lane: Lane
    at_ms: float
    sums: Sums
    closed: Mapping[str, float]


class Ledger:
    """The sums of one worker with so many slots."""

    def __init__(self, slots: int, now_ms: float, *, fair: bool = False) -> None:
        self._slots, self._fair = slots, fair
        self._now = now_ms
        self._frozen = False
        self._running = 0
        self._priorities = [0] * len(Priority)
        #: In that order, without the tenant's own share.
        self._sums = [0.0] * _OWN
        self._passages = Passages(self._sums, _FAIR, slots)
        self._waiting: Counter[Lane] = Counter()

    def choose(self, now_ms: float, *, fair: bool) -> None:
        """The strategy is a fair one from now on, or is not."""
        self._advance(now_ms)
        self._fair = fair

    def freeze(self, now_ms: float) -> None:
        """Nothing can start: shards change hands."""
        self._advance(now_ms)
        self._frozen = True

    def thaw(self, now_ms: float) -> None:
        """What waits can start again."""
        self._advance(now_ms)
        self._frozen = False

    def started(self, lane: Lane, priority: int, now_ms: float) -> None:
        """An attempt occupies a slot."""
        self._occupy(lane.tenant, priority, now_ms, 1)

    def ended(self, lane: Lane, priority: int, now_ms: float) -> None:
        """It does no more; called with what it was started with."""
        self._occupy(lane.tenant, priority, now_ms, -1)

    def close(self, lane: Lane, refuser: Refuser, now_ms: float) -> None:
        """What waits in the lane, and in all lanes that the same has refused, waits for that from now on.

        Nothing happens where nothing waits.
        """
        self._advance(now_ms)
        if lane in self._waiting:
            self._passages.close(lane, refuser)

    def open(self, refuser: Refuser, now_ms: float) -> None:
        """What it refused is kept by nothing else but a free slot and its turn, as far as is known."""
        self._advance(now_ms)
        self._passages.open(refuser)

    def closed(self) -> dict[Lane, Refuser]:
        """Lanes with waiting tasks that are closed, and by what."""
        return self._passages.closed()

    def mark(self, lane: Lane, now_ms: float) -> Mark:
        """A task begins to wait in the lane. Each mark is ended by `waited` or `dropped`, once."""
        self._advance(now_ms)
        self._waiting[lane] += 1
        return Mark(lane, self._now, *self._passages.of(lane))

    def waited(self, mark: Mark, priority: int, now_ms: float) -> dict[str, float]:
        """What a task of this priority has waited for since its mark: milliseconds by cause, which sum to the time."""
        self._advance(now_ms)
        sums, closed = self._passages.of(mark.lane)
        self.dropped(mark)
        waited = _minus(sums, mark.sums)
        found = {cause: ms - mark.closed.get(cause, 0.0) for cause, ms in closed.items()}
        passed = self._now - mark.at_ms
        recovery = passed - waited[_LIVE] - sum(found.values())
        urgent = sum(waited[_FIRST_PRIORITY + _level(priority) + 1 : _OWN])
        others = waited[_FAIR] - waited[_OWN]
        for cause, ms in (
            (PRIORITY, urgent),
            (FAIRNESS, others),
            (CONCURRENCY, waited[_RANKED] - urgent + waited[_OWN]),
            (DELIVERY, waited[_LIVE] - waited[_RANKED] - waited[_FAIR]),
            (RECOVERY, recovery),
        ):
            found[cause] = found.get(cause, 0.0) + ms
        return found

    def dropped(self, mark: Mark) -> None:
        """The task waits no more. A lane in which nothing waits is forgotten."""
        self._waiting[mark.lane] -= 1
        if not self._waiting[mark.lane]:
            del self._waiting[mark.lane]
            self._passages.forget(mark.lane)

    def waiting(self) -> Counter[Lane]:
        """How many tasks wait in each lane."""
        return self._waiting.copy()

    def _advance(self, now_ms: float) -> None:
        passed = now_ms - self._now
        if passed <= 0.0:
            return
        self._now = now_ms
        if self._frozen:
            return
        sums = self._sums
        sums[_LIVE] += passed
        if self._running < self._slots:
            return
        if self._fair:
            sums[_FAIR] += passed
            return
        sums[_RANKED] += passed
        for level, running in enumerate(self._priorities, _FIRST_PRIORITY):
            sums[level] += passed * running / self._slots

    def _occupy(self, tenant: str, priority: int, now_ms: float, by: int) -> None:
        self._advance(now_ms)
        self._priorities[_level(priority)] += by
        self._passages.occupy(tenant, by)
        self._running += by


def _level(priority: int) -> int:
    return min(max(priority, Priority.LOW), Priority.HIGH) - Priority.LOW


def _minus(one: Sums, other: Sums) -> Sums:
    return tuple(a - b for a, b in zip(one, other, strict=True))


def in_whole_ms(causes: Mapping[str, float], total_ms: int) -> dict[str, int]:
    """The causes in whole milliseconds that sum to the total; what is nothing is left out.

    What rounding leaves goes to the largest one, and what no cause accounts for is `delivery`.
    """
    whole = {cause: rounded for cause, ms in causes.items() if (rounded := round(ms)) > 0}
    left = total_ms - sum(whole.values())
    if left > 0:
        whole[DELIVERY] = whole.get(DELIVERY, 0) + left
    while left < 0 and whole:
        # Two clocks were compared; the sum must still be the total.
        largest = max(whole, key=lambda cause: whole[cause])
        taken = min(whole[largest], -left)
        whole[largest] -= taken
        left += taken
        if not whole[largest]:
            del whole[largest]
    return whole
