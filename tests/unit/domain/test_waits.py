"""The ledger of waits, against a reckoning millisecond by millisecond."""

from collections import defaultdict
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import waits
from domain.strategies.strategy import Lane
from domain.waits import Ledger, Mark, in_whole_ms

SLOTS = 2
LANES = [Lane(None, None, "step", tenant) for tenant in ("a", "b")]


@dataclass
class SlowLedger:
    """What every waiting task waits for, added up for each one at each step."""

    fair: bool = False
    frozen: bool = False
    running: list[tuple[Lane, int]] = field(default_factory=list)
    closed: dict[Lane, str] = field(default_factory=dict)
    waiting: dict[int, tuple[Lane, int, defaultdict[str, float]]] = field(default_factory=dict)

    def pass_time(self, ms: float) -> None:
        for lane, priority, causes in self.waiting.values():
            if self.frozen:
                causes[waits.RECOVERY] += ms
            elif lane in self.closed:
                causes[self.closed[lane]] += ms
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
        st.sampled_from([waits.RATE_LIMIT, waits.CONCURRENCY, waits.PAUSED]),
        st.integers(0, 1000),
    ),
    max_size=60,
)


@given(STEPS)
def test_the_sums_are_what_each_task_would_have_counted_by_itself(
    steps: list[tuple[str, Lane, int, str, int]],
) -> None:
    now = 5000.0
    ledger, slow = Ledger(SLOTS, now), SlowLedger()
    marks: dict[int, tuple[Mark, float]] = {}
    for number, (step, lane, priority, cause, ms) in enumerate([*steps, *[("go", LANES[0], 1, "", 7)] * len(steps)]):
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
                if not any(one == lane for one, _, _ in slow.waiting.values()):
                    slow.closed.pop(lane, None)
            case "start" if len(slow.running) < SLOTS:
                slow.running.append((lane, priority))
                ledger.started(lane, priority, now)
            case "end" if slow.running:
                ledger.ended(*slow.running.pop(), now)
            case "close" if any(one == lane for one, _, _ in slow.waiting.values()):
                slow.closed[lane] = cause
                ledger.close(lane, cause, now)
            case "open":
                slow.closed.pop(lane, None)
                ledger.open(lane, now)
            case "freeze":
                slow.frozen = True
                ledger.freeze(now)
            case "thaw":
                slow.frozen = False
                ledger.thaw(now)
            case "fair" | "ranked":
                slow.fair = step == "fair"
                ledger.choose(now, fair=slow.fair)


@given(st.dictionaries(st.sampled_from(waits.CAUSES), st.floats(0, 1e7)), st.integers(0, 10**8))
def test_whole_milliseconds_sum_to_the_total(causes: dict[str, float], total_ms: int) -> None:
    whole = in_whole_ms(causes, total_ms)
    assert sum(whole.values()) == total_ms
    assert all(ms > 0 for ms in whole.values())


def test_a_lane_in_which_nothing_waits_is_forgotten() -> None:
    ledger = Ledger(SLOTS, 0.0)
    mark = ledger.mark(LANES[0], 1.0)
    ledger.close(LANES[0], waits.PAUSED, 2.0)
    ledger.dropped(mark)
    ledger.close(LANES[0], waits.PAUSED, 3.0)
    assert ledger.waited(ledger.mark(LANES[0], 10.0), 2, 12.0)[waits.DELIVERY] == 2.0
    assert not ledger._lanes


def test_what_no_cause_accounts_for_was_on_its_way() -> None:
    assert in_whole_ms({waits.PRIORITY: 10.4}, 100) == {waits.PRIORITY: 10, waits.DELIVERY: 90}
