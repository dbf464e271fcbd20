"""The ledger of waits, against a reckoning millisecond by millisecond."""

from collections import defaultdict
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import waits
from domain.strategies.closures import Closures
from domain.strategies.strategy import Lane, Refuser
from domain.waits import Ledger, Mark, in_whole_ms

SLOTS = 2
LANES = [Lane(model, "p", "step", tenant) for tenant in ("a", "b") for model in ("m", "n")]
REFUSERS = [
    Refuser(waits.CONCURRENCY, "model", "m"),
    Refuser(waits.RATE_LIMIT, "provider", "p"),
    Refuser(waits.CONCURRENCY, "provider", "p"),
    Refuser(waits.CONCURRENCY, "class", "llm"),
    Refuser(waits.PAUSED, "tenant", "a"),
]


@dataclass
class SlowLedger:
    """What every waiting task waits for, added up for each one at each step."""

    fair: bool = False
    frozen: bool = False
    running: list[tuple[Lane, int]] = field(default_factory=list)
    closures: Closures = field(default_factory=Closures)
    waiting: dict[int, tuple[Lane, int, defaultdict[str, float]]] = field(default_factory=dict)

    def closed_by(self, lane: Lane) -> str | None:
        """The cause of the closed group that the lane is right within, or that is next outside."""
        group = self.closures.groups.get(lane)
        path = () if group is None else group.path()
        return next((each.refuser.cause for each in path if not each.is_open), None)

    def close(self, lane: Lane, refuser: Refuser) -> None:
        self.closures.place(lane, self.closures.close(refuser)[0])

    def forget_unless_waiting(self, lane: Lane) -> None:
        if not any(one == lane for one, _, _ in self.waiting.values()):
            self.closures.forget(lane)

    def pass_time(self, ms: float) -> None:
        for lane, priority, causes in self.waiting.values():
            if self.frozen:
                causes[waits.RECOVERY] += ms
            elif (closed_by := self.closed_by(lane)) is not None:
                causes[closed_by] += ms
            elif len(self.running) < SLOTS:
                causes[waits.DELIVERY] += ms
            elif self.fair:
                share = sum(one.tenant != lane.tenant for one, _ in self.running) / SLOTS
                causes[waits.FAIRNESS] += share * ms
                causes[waits.CONCURRENCY] += (1 - share) * ms
            else:
                share = sum(other > priority for _, other in self.running) / SLOTS
                causes[waits.PRIORITY] += share * ms
                causes[waits.CONCURRENCY] += (1 - share) * ms


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["come", "go", "start", "end", "close", "open", "freeze", "thaw", "fair", "ranked"]),
        st.sampled_from(LANES),
        st.integers(1, 3),
        st.sampled_from(REFUSERS),
        st.integers(0, 1000),
    ),
    max_size=80,
)


@given(STEPS)
def test_the_sums_are_what_each_task_would_have_counted_by_itself(
    steps: list[tuple[str, Lane, int, Refuser, int]],
) -> None:
    now = 5000.0
    ledger, slow = Ledger(SLOTS, now), SlowLedger()
    marks: dict[int, tuple[Mark, float]] = {}
    last = ("go", LANES[0], 1, REFUSERS[0], 7)
    for number, (step, lane, priority, refuser, ms) in enumerate([*steps, *[last] * len(steps)]):
        now += ms
        slow.pass_time(ms)
        match step:
            case "come":
                marks[number] = (ledger.mark(lane, now), now)
                slow.waiting[number] = (lane, priority, defaultdict(float))
            case "go" if marks:
                task, (mark, since) = marks.popitem()
                lane, priority, expected = slow.waiting.pop(task)
                found = ledger.waited(mark, priority, now)
                assert {key: value for key, value in found.items() if value > 1e-6} == pytest.approx(
                    {key: value for key, value in expected.items() if value > 1e-6}
                )
                assert sum(found.values()) == pytest.approx(now - since)
                slow.forget_unless_waiting(lane)
            case "start" if len(slow.running) < SLOTS:
                slow.running.append((lane, priority))
                ledger.started(lane, priority, now)
            case "end" if slow.running:
                ledger.ended(*slow.running.pop(), now)
            case "close" if any(one == lane for one, _, _ in slow.waiting.values()):
                slow.close(lane, refuser)
                ledger.close(lane, refuser, now)
            case "open":
                slow.closures.open(refuser)
                ledger.open(refuser, now)
            case "freeze":
                slow.frozen = True
                ledger.freeze(now)
            case "thaw":
                slow.frozen = False
                ledger.thaw(now)
            case "fair" | "ranked":
                slow.fair = step == "fair"
                ledger.choose(now, fair=slow.fair)
        assert set(ledger.closed()) == {lane for lane, _, _ in slow.waiting.values() if slow.closed_by(lane)}


@given(st.dictionaries(st.sampled_from(waits.CAUSES), st.floats(0, 1e7)), st.integers(0, 10**8))
def test_whole_milliseconds_sum_to_the_total(causes: dict[str, float], total_ms: int) -> None:
    whole = in_whole_ms(causes, total_ms)
    assert sum(whole.values()) == total_ms
    assert all(ms > 0 for ms in whole.values())


def test_a_lane_in_which_nothing_waits_is_forgotten() -> None:
    ledger = Ledger(SLOTS, 0.0)
    mark = ledger.mark(LANES[0], 1.0)
    ledger.close(LANES[0], REFUSERS[0], 2.0)
    ledger.dropped(mark)
    ledger.close(LANES[0], REFUSERS[0], 3.0)
    assert ledger.waited(ledger.mark(LANES[0], 10.0), 2, 12.0)[waits.DELIVERY] == 2.0
    assert not ledger.waiting()
    assert not ledger.closed()


def test_what_no_cause_accounts_for_was_on_its_way() -> None:
    assert in_whole_ms({waits.PRIORITY: 10.4}, 100) == {waits.PRIORITY: 10, waits.DELIVERY: 90}
