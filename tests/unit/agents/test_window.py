"""What a window holds, in which order it gives it, and when a band is full."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from agents.bands import BandBounds
from agents.entries import Band, Entry
from agents.wait_accounts import WaitAccounts
from agents.window import Window
from domain.states import TaskStatus
from domain.strategies.choice import StrategyChoice
from domain.strategies.estimates import Estimates
from domain.strategies.make import make_strategy
from domain.strategies.strategy import Lane, Strategy, Waiting
from domain.task import TaskState
from domain.waits import Ledger
from streams.shard_stream import ShardRecord
from tests.support.given import AT, submitted

AT_MS = int(AT.timestamp() * 1000)


def entry(task_id: str, offset: int, topic: str = "tasks-cpu-low", **state: object) -> Entry:
    submission = submitted(task_id=task_id)
    record = ShardRecord(topic, 0, offset, 1, offset, None, None, {})
    waiting = TaskState(task_id=task_id, status=TaskStatus.SUBMITTED, run=1, submission=submission)
    return Entry(submission, replace(waiting, **state), record)  # type: ignore[arg-type]  # names are checked by replace


def view(entry: Entry, now_ms: int) -> Waiting:
    accepted_ms, *tie = entry.place
    lane = Lane(entry.state.model, None, "step", "default", entry.suspect)
    return Waiting(entry.task_id, lane, entry.priority, accepted_ms, (tie[0], tie[1]))


def strategy(name: str = "fifo") -> Strategy:
    return make_strategy(StrategyChoice(name), Estimates(), lambda tenant: 1.0)


class TestWindow(Window):
    """A window whose times need not be said."""

    __test__ = False

    def put(self, entry: Entry, now: float = 0.0) -> None:
        self.add(entry, now, AT_MS)

    def taken(self) -> list[str]:
        found = []
        while (one := self.take(AT_MS, lambda task: None)) is not None:
            found.append(one.task_id)
        return found


class Bands:
    """What a stream was told."""

    def __init__(self) -> None:
        self.full: list[Band] = []
        self.drained: list[Band] = []

    def window(self, size: int = 100, **bounds: Any) -> TestWindow:
        told = BandBounds(
            size,
            on_full=lambda *band: self.full.append(band),
            on_drained=lambda *band: self.drained.append(band),
            **bounds,
        )
        return TestWindow(strategy(), told, view, WaitAccounts(Ledger(1, AT_MS)))


LOW = ("tasks-cpu-low", 0)
HIGH = ("tasks-cpu-high", 0)


def test_a_band_is_full_at_its_bound_and_again_for_each_record_beyond() -> None:
    bands = Bands()
    window = bands.window(2)
    for offset in range(4):
        window.put(entry(f"t-{offset}", offset))
    assert bands.full == [LOW] * 3
    assert window.full(LOW)
    assert not window.full(HIGH)


def test_a_band_is_drained_once_when_half_is_left() -> None:
    bands = Bands()
    window = bands.window(4)
    entries = [entry(f"t-{offset}", offset) for offset in range(5)]
    for one in entries:
        window.put(one)
    for left, one in zip(range(4, -1, -1), entries, strict=True):
        window.discard(one, AT_MS)
        assert bands.drained == ([LOW] if left <= 2 else [])
    assert not window.full(LOW)


def test_a_band_below_its_bound_says_nothing() -> None:
    bands = Bands()
    window = bands.window(3)
    window.put(entry("t", 1))
    window.take(AT_MS, lambda task: None)
    assert not bands.full
    assert not bands.drained


def test_a_task_that_moves_counts_against_its_new_band() -> None:
    bands = Bands()
    window = bands.window(1)
    one = entry("t", 1)
    window.put(one)
    window.moved(one, entry("t", 7, topic=HIGH[0]).record, AT_MS)
    assert (bands.full, bands.drained) == ([LOW, HIGH], [LOW])
    window.discard(one, AT_MS)
    assert bands.drained == [LOW, HIGH]


def test_a_running_task_that_moves_counts_against_none() -> None:
    bands = Bands()
    window = bands.window(1)
    one = entry("t", 1)
    window.moved(one, entry("t", 7).record, AT_MS)
    assert not bands.full
    assert one.record.offset == 7


def test_what_is_not_due_is_not_taken_until_it_is() -> None:
    window = Bands().window()
    window.put(entry("late", 1, due_at=AT + timedelta(seconds=5), status=TaskStatus.RETRY_SCHEDULED))
    window.put(entry("now", 2))
    assert window.next_at() == AT + timedelta(seconds=5)
    window.wake_due(AT + timedelta(seconds=4))
    assert window.taken() == ["now"]
    window.wake_due(AT + timedelta(seconds=5))
    assert window.taken() == ["late"]
    assert window.next_at() is None
    assert len(window) == 0


def test_a_discarded_task_is_not_woken() -> None:
    window = Bands().window()
    late = entry("late", 1, due_at=AT)
    window.put(late)
    window.discard(late, AT_MS)
    window.wake_due(AT)
    assert window.taken() == []


def test_each_long_wait_is_noticed_once() -> None:
    window = Bands().window()
    one = entry("t", 1)
    window.put(one, 10.0)
    assert window.unnoticed(10.9, 1.0, 10) == []
    assert window.unnoticed(11.0, 1.0, 10) == [one]
    assert window.unnoticed(20.0, 1.0, 10) == []
    window.take(AT_MS, lambda task: None)
    window.put(one, 30.0)
    assert window.unnoticed(31.0, 1.0, 10) == [one]


def test_long_waits_are_noticed_a_few_at_a_time() -> None:
    window = Bands().window()
    entries = [entry(f"t-{number}", number) for number in range(5)]
    for one in entries:
        window.put(one, 10.0)
    assert [window.unnoticed(20.0, 1.0, 2) for _ in range(4)] == [entries[:2], entries[2:4], entries[4:], []]


def test_a_task_that_started_in_time_is_not_noticed() -> None:
    window = Bands().window()
    window.put(entry("t", 1), 10.0)
    window.take(AT_MS, lambda task: None)
    assert window.unnoticed(20.0, 1.0, 10) == []


def test_a_suspect_waits_for_its_turn_like_any_other() -> None:
    """A crash must not let what was running overtake more urgent work."""
    window = Bands().window()
    window.put(entry("suspect", 7, attempts_lost=1))
    window.put(entry("earlier", 3))
    assert window.taken() == ["earlier", "suspect"]


def test_large_tasks_fill_a_band_before_their_number_does() -> None:
    bands = Bands()
    window = bands.window(bytes_max=1000)
    large = [entry(f"t-{number}", number) for number in range(3)]
    for one in large:
        one.record = replace(one.record, value=b"x" * 400)
        window.put(one)
    assert bands.full == [LOW]
    window.discard(large[0], AT_MS)
    assert bands.drained == []
    window.discard(large[1], AT_MS)
    assert bands.drained == [LOW]


def test_a_relocated_task_keeps_its_place() -> None:
    window = Bands().window()
    straggler, later = entry("straggler", 1), entry("later", 2)
    window.moved(straggler, replace(straggler.record, offset=900, timestamp_ms=900), AT_MS)
    window.put(later)
    window.put(straggler)
    assert window.taken() == ["straggler", "later"]


def test_waits_that_are_over_are_forgotten_even_if_nobody_asks() -> None:
    window = Bands().window()
    for number in range(1000):
        window.put(entry(f"t-{number}", number), float(number))
        window.take(AT_MS, lambda task: None)
    assert len(window._unnoticed) <= 1
