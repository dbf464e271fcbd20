from dataclasses import replace
from datetime import timedelta

from agents.strategies import fifo
from agents.window import Band, Entry, Window
from domain.states import TaskStatus
from domain.task import TaskState
from streams.shard_stream import ShardRecord
from tests.support.given import AT, submitted


def entry(task_id: str, offset: int, topic: str = "tasks-cpu-low", **state: object) -> Entry:
    submission = submitted(task_id=task_id)
    record = ShardRecord(topic, 0, offset, 1, offset, None, None, {})
    waiting = TaskState(task_id=task_id, status=TaskStatus.SUBMITTED, run=1, submission=submission)
    return Entry(submission, replace(waiting, **state), record)  # type: ignore[arg-type]  # names are checked by replace


class Bands:
    """What a stream was told."""

    def __init__(self) -> None:
        self.full: list[Band] = []
        self.drained: list[Band] = []

    def window(self, size: int = 100) -> Window:
        return Window(
            fifo(),
            size,
            on_full=lambda *band: self.full.append(band),
            on_drained=lambda *band: self.drained.append(band),
        )


LOW = ("tasks-cpu-low", 0)
HIGH = ("tasks-cpu-high", 0)


def taken(window: Window) -> list[str]:
    found = []
    while (one := window.take(0)) is not None:
        found.append(one.task_id)
    return found


def test_a_band_is_full_at_its_bound_and_again_for_each_record_beyond() -> None:
    bands = Bands()
    window = bands.window(2)
    for offset in range(4):
        window.add(entry(f"t-{offset}", offset), 0.0)
    assert bands.full == [LOW] * 3
    assert window.full(LOW)
    assert not window.full(HIGH)


def test_a_band_is_drained_once_when_half_is_left() -> None:
    bands = Bands()
    window = bands.window(4)
    entries = [entry(f"t-{offset}", offset) for offset in range(5)]
    for one in entries:
        window.add(one, 0.0)
    for left, one in zip(range(4, -1, -1), entries, strict=True):
        window.discard(one)
        assert bands.drained == ([LOW] if left <= 2 else [])
    assert not window.full(LOW)


def test_a_band_below_its_bound_says_nothing() -> None:
    bands = Bands()
    window = bands.window(3)
    window.add(entry("t", 1), 0.0)
    window.take(0)
    assert not bands.full
    assert not bands.drained


def test_a_task_that_moves_counts_against_its_new_band() -> None:
    bands = Bands()
    window = bands.window(1)
    one = entry("t", 1)
    window.add(one, 0.0)
    window.moved(one, entry("t", 7, topic=HIGH[0]).record)
    assert (bands.full, bands.drained) == ([LOW, HIGH], [LOW])
    window.discard(one)
    assert bands.drained == [LOW, HIGH]


def test_a_running_task_that_moves_counts_against_none() -> None:
    bands = Bands()
    window = bands.window(1)
    one = entry("t", 1)
    window.moved(one, entry("t", 7).record)
    assert not bands.full
    assert one.record.offset == 7


def test_what_is_not_due_is_not_taken_until_it_is() -> None:
    window = Bands().window()
    window.add(entry("late", 1, due_at=AT + timedelta(seconds=5), status=TaskStatus.RETRY_SCHEDULED), 0.0)
    window.add(entry("now", 2), 0.0)
    assert window.next_due_at() == AT + timedelta(seconds=5)
    window.wake_due(AT + timedelta(seconds=4))
    assert taken(window) == ["now"]
    window.wake_due(AT + timedelta(seconds=5))
    assert taken(window) == ["late"]
    assert window.next_due_at() is None
    assert len(window) == 0


def test_a_discarded_task_is_not_woken() -> None:
    window = Bands().window()
    late = entry("late", 1, due_at=AT)
    window.add(late, 0.0)
    window.discard(late)
    window.wake_due(AT)
    assert taken(window) == []


def test_suspects_run_one_at_a_time() -> None:
    window = Bands().window()
    suspects = [entry(f"s-{number}", number, attempts_lost=1) for number in range(2)]
    for one in (*suspects, entry("t", 5)):
        window.add(one, 0.0)
    assert taken(window) == ["s-0", "t"]
    window.ended(suspects[0])
    assert taken(window) == ["s-1"]


def test_the_end_of_an_older_attempt_does_not_let_another_suspect_start() -> None:
    window = Bands().window()
    old = entry("s", 1, attempts_lost=1)
    window.add(old, 0.0)
    window.take(0)
    window.ended(old)
    new = entry("s", 1, attempts_lost=2)
    window.add(new, 0.0)
    window.add(entry("other", 2, attempts_lost=1), 0.0)
    assert taken(window) == ["s"]
    window.ended(old)
    assert taken(window) == []


def test_each_long_wait_is_noticed_once() -> None:
    window = Bands().window()
    one = entry("t", 1)
    window.add(one, 10.0)
    assert window.unnoticed(10.9, 1.0, 10) == []
    assert window.unnoticed(11.0, 1.0, 10) == [one]
    assert window.unnoticed(20.0, 1.0, 10) == []
    window.take(0)
    window.add(one, 30.0)
    assert window.unnoticed(31.0, 1.0, 10) == [one]


def test_long_waits_are_noticed_a_few_at_a_time() -> None:
    window = Bands().window()
    entries = [entry(f"t-{number}", number) for number in range(5)]
    for one in entries:
        window.add(one, 10.0)
    assert [window.unnoticed(20.0, 1.0, 2) for _ in range(4)] == [entries[:2], entries[2:4], entries[4:], []]


def test_a_task_that_started_in_time_is_not_noticed() -> None:
    window = Bands().window()
    window.add(entry("t", 1), 10.0)
    window.take(0)
    assert window.unnoticed(20.0, 1.0, 10) == []


def test_a_suspect_waits_for_its_turn_like_any_other() -> None:
    """A crash must not let what was running overtake more urgent work."""
    window = Bands().window()
    window.add(entry("suspect", 7, attempts_lost=1), 0.0)
    window.add(entry("earlier", 3), 0.0)
    assert taken(window) == ["earlier", "suspect"]


def test_a_suspect_that_was_set_aside_keeps_its_place() -> None:
    window = Bands().window()
    first, second = (entry(f"s-{number}", number, attempts_lost=1) for number in range(2))
    for one in (first, second, entry("t-5", 5), entry("t-6", 6)):
        window.add(one, 0.0)
    assert window.take(0) is first
    assert window.take(0) is not second
    window.ended(first)
    assert window.take(0) is second


def test_large_tasks_fill_a_band_before_their_number_does() -> None:
    bands = Bands()
    window = Window(
        fifo(),
        100,
        on_full=lambda *band: bands.full.append(band),
        on_drained=lambda *band: bands.drained.append(band),
        bytes_max=1000,
    )
    large = [entry(f"t-{number}", number) for number in range(3)]
    for one in large:
        one.record = replace(one.record, value=b"x" * 400)
        window.add(one, 0.0)
    assert bands.full == [LOW]
    window.discard(large[0])
    assert bands.drained == []
    window.discard(large[1])
    assert bands.drained == [LOW]


def test_a_relocated_task_keeps_its_place() -> None:
    window = Bands().window()
    straggler, later = entry("straggler", 1), entry("later", 2)
    window.moved(straggler, replace(straggler.record, offset=900, timestamp_ms=900))
    window.add(later, 0.0)
    window.add(straggler, 0.0)
    assert taken(window) == ["straggler", "later"]


def test_waits_that_are_over_are_forgotten_even_if_nobody_asks() -> None:
    window = Bands().window()
    for number in range(1000):
        window.add(entry(f"t-{number}", number), float(number))
        window.take(0)
    assert len(window._unnoticed) <= 1
