"""What the log says of single tasks."""

from datetime import UTC, datetime, timedelta

from domain.simulation.recording import RecordedEvent, Visit, microseconds, recorded_visits
from schemas import events
from schemas.events import TaskEvent

BEGIN = datetime(2026, 11, 21, 12, tzinfo=UTC)
BEGIN_MS = microseconds(BEGIN) // 1000


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def submitted(seconds: float = 0.0, offset: int = 7, **changes: object) -> RecordedEvent:
    given: dict[str, object] = {
        "type": "convert",
        "resource_class": "cpu",
        "routing_key": "t",
        "tenant": "a",
        **changes,
    }
    event = events.TaskSubmitted(task_id="t", occurred_at=at(seconds), **given)  # type: ignore[arg-type]
    return RecordedEvent(event, BEGIN_MS + int(seconds * 1000), 2, offset)


def started(seconds: float, entered: float | None = 0.5, **changes: object) -> TaskEvent:
    entered_at = None if entered is None else at(entered)
    given: dict[str, object] = {"worker": "host/1", "strategy": "fair", "entered_at": entered_at, **changes}
    return events.TaskStarted(task_id="t", occurred_at=at(seconds), **given)  # type: ignore[arg-type]


def completed(seconds: float, **usage: float) -> TaskEvent:
    return events.TaskCompleted(task_id="t", occurred_at=at(seconds), result="{}", duration_seconds=1.0, usage=usage)


def visits(*facts: TaskEvent, records: tuple[RecordedEvent, ...] = (submitted(),)) -> list[Visit]:
    lifecycle = [RecordedEvent(fact, 0, 0, offset) for offset, fact in enumerate(facts)]
    return recorded_visits([*lifecycle, *records], lambda submission: 5.0, lambda task_type: task_type == "chat")


def seconds(us: int | None) -> float | None:
    return None if us is None else us / 1_000_000 - BEGIN_MS / 1000


def test_a_task_that_was_started_and_completed() -> None:
    (visit,) = visits(started(2.0, model="m"), completed(3.5, prompt_tokens=100, completion_tokens=20))
    assert (seconds(visit.arrives_us), seconds(visit.started_us), seconds(visit.ended_us)) == (0.5, 2.0, 3.5)
    assert (visit.worker, visit.strategy, visit.complete, visit.tokens) == ("host/1", "fair", True, 120)
    assert (visit.task.accepted_ms, visit.task.tie, visit.task.cost) == (BEGIN_MS, (2, 7), 5.0)
    assert (visit.task.lane.model, visit.task.lane.tenant) == ("m", "a")


def test_an_old_worker_did_not_say_when_it_took_the_task() -> None:
    (visit,) = visits(started(2.0, entered=None))
    assert seconds(visit.arrives_us) == 0.0
    assert visit.ended_us is None


def test_a_retry_waits_from_its_due_time_and_at_the_end_of_the_line() -> None:
    retry = events.TaskRetryScheduled(
        task_id="t", occurred_at=at(3), due_at=at(10), error_code="busy", error_detail="busy"
    )
    first, second = visits(started(2.0), retry, started(11.0), completed(12.0))
    assert (first.complete, first.yielded, seconds(first.ended_us)) == (False, False, 3.0)
    assert (seconds(second.arrives_us), second.task.queued_ms) == (10.0, BEGIN_MS + 10_000)


def test_what_was_put_off_waits_from_its_due_time_and_keeps_its_place() -> None:
    released = events.TaskReleased(
        task_id="t", occurred_at=at(3), reason="429", error_code="rate_limited", due_at=at(10)
    )
    _, second = visits(started(2.0), released, started(11.0), completed(12.0))
    assert (seconds(second.arrives_us), second.task.queued_ms) == (10.0, 0)


def test_what_gave_its_slot_back_goes_on_from_there_and_what_was_handed_back_keeps_its_place() -> None:
    yielded = events.TaskYielded(task_id="t", occurred_at=at(3), checkpoint="{}")
    released = events.TaskReleased(task_id="t", occurred_at=at(5), reason="shutdown")
    first, second, third = visits(started(2.0), yielded, started(4.0), released, started(6.0), completed(7.0))
    assert [visit.yielded for visit in (first, second, third)] == [True, False, False]
    assert [visit.task.queued_ms for visit in (first, second, third)] == [0, BEGIN_MS + 3000, 0]


def test_a_priority_that_changed_while_it_waited() -> None:
    changed = events.TaskPriorityChanged(task_id="t", occurred_at=at(1), priority=3, reason="asked for")
    retry = events.TaskReleased(task_id="t", occurred_at=at(3), reason="shutdown")
    first, second = visits(changed, started(2.0), retry, started(4.0))
    assert (first.task.priority, first.priority) == (2, 3)
    assert [seconds(moment) for moment, _ in first.changes] == [1.0]
    assert second.task.priority == 3


def test_what_left_the_window_comes_back_with_the_place_of_its_new_record() -> None:
    held = events.TaskHeld(task_id="t", occurred_at=at(1), reason="paused: model m", submission=b"")
    copy_before, copy_after = submitted(0.5, offset=8), submitted(60.0, offset=9)
    (visit,) = visits(held, started(62.0, entered=61.0), records=(copy_after, copy_before, submitted()))
    assert (visit.task.accepted_ms, visit.task.tie) == (BEGIN_MS + 60_000, (2, 9))
    assert seconds(visit.arrives_us) == 61.0


def test_a_straggler_that_was_copied_keeps_its_place() -> None:
    (visit,) = visits(started(62.0), records=(submitted(60.0, offset=9), submitted()))
    assert visit.task.tie == (2, 7)


def test_what_was_cancelled_while_it_waited_left_without_a_start() -> None:
    (visit,) = visits(events.TaskCancelled(task_id="t", occurred_at=at(4), reason="asked for"))
    assert (visit.started_us, seconds(visit.ended_us)) == (None, 4.0)


def test_a_task_whose_submission_lies_before_the_recording_is_left_out() -> None:
    assert visits(started(1.0), completed(2.0), records=()) == []
