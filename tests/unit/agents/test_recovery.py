from dataclasses import replace
from datetime import timedelta

from aiokafka import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from agents.recovery import RecoveredFacts, epoch_of
from domain.states import TaskStatus
from domain.task import fold
from schemas import events
from schemas.codec import encode
from schemas.envelope import headers
from schemas.events import TaskEvent
from streams.shard_stream import ShardRecord
from streams.state_header import STATE_HEADER, state_header, state_said
from tests.support.given import AT, TASK_ID, fact, submitted


def consumed(*facts: TaskEvent) -> list[ConsumerRecord]:
    return [
        ConsumerRecord(
            "task-lifecycle", 0, offset, 0, 0, one.task_id.encode(), encode(one), 0, 0, 0, tuple(headers(one))
        )
        for offset, one in enumerate(facts)
    ]


def record(offset: int, **header: bytes) -> ShardRecord:
    return ShardRecord("tasks-cpu-low", 0, offset, 1, 0, None, None, {STATE_HEADER: header["state"]} if header else {})


STARTED = fact(events.TaskStarted, 1)
RETRY = fact(events.TaskRetryScheduled, 2, attempt=1)


def test_facts_are_added_to_what_the_record_says() -> None:
    facts = RecoveredFacts()
    facts.add(consumed(STARTED, RETRY))
    facts.await_records({("tasks-cpu-low", 0): 1})
    state = facts.state(state_said(record(0).headers, submitted()))
    assert state == fold(TASK_ID, [submitted(), STARTED, RETRY])
    assert facts.epoch_max == 3


def test_facts_answer_again_for_another_record_of_the_task() -> None:
    facts = RecoveredFacts()
    facts.add(consumed(STARTED))
    facts.await_records({("tasks-cpu-low", 0): 2})
    assert facts.state(state_said(record(0).headers, submitted())) == facts.state(
        state_said(record(1).headers, submitted())
    )


def test_a_fact_that_cannot_be_read_is_left_out() -> None:
    facts = RecoveredFacts()
    broken = replace(consumed(STARTED)[0], value=b"no message", headers=(("ce_epoch", b"no number"),))
    facts.add([broken, *consumed(STARTED)])
    facts.await_records({("tasks-cpu-low", 0): 1})
    assert facts.state(state_said(record(0).headers, submitted())).status is TaskStatus.RUNNING


def test_facts_are_kept_until_the_last_record_from_before_has_come() -> None:
    facts = RecoveredFacts()
    facts.add(consumed(STARTED))
    facts.await_records({("tasks-cpu-low", 0): 2})
    facts.handed_out(record(0))
    assert facts.state(state_said(record(0).headers, submitted())).status is TaskStatus.RUNNING
    facts.handed_out(record(1))
    assert facts.state(state_said(record(2).headers, submitted())).status is TaskStatus.SUBMITTED


def test_facts_are_not_kept_when_no_record_is_to_come() -> None:
    facts = RecoveredFacts()
    facts.add(consumed(STARTED))
    facts.await_records({})
    assert facts.state(state_said(record(0).headers, submitted())).status is TaskStatus.SUBMITTED


def test_a_relocated_record_tells_the_state_of_its_task() -> None:
    for facts in ([], [STARTED], [STARTED, RETRY]):
        state = fold(TASK_ID, [submitted(), *facts])
        told = state_said(record(9, state=state_header(state)).headers, submitted())
        names = ("status", "version", "attempt", "attempts_used", "attempts_lost", "due_at", "checkpoint")
        assert [getattr(told, name) for name in names] == [getattr(state, name) for name in names]


def test_facts_from_before_a_relocation_change_nothing() -> None:
    state = fold(TASK_ID, [submitted(), STARTED, RETRY])
    facts = RecoveredFacts()
    facts.add(consumed(STARTED, RETRY, fact(events.TaskStarted, 3, attempt=2)))
    facts.await_records({("tasks-cpu-low", 0): 10})
    told = facts.state(state_said(record(9, state=state_header(state)).headers, submitted()))
    assert (told.status, told.attempt) == (TaskStatus.RUNNING, 2)


def test_a_header_of_a_newer_version_is_understood() -> None:
    header = state_header(fold(TASK_ID, [submitted(), RETRY])).replace(b"{", b'{"news":1,', 1)
    state = state_said(record(9, state=header).headers, submitted())
    assert state.due_at == AT + timedelta(minutes=1)


@given(st.integers(1, 2**31), st.integers(0, 2**40), st.integers(0, 2**40))
def test_a_later_generation_always_has_the_higher_epoch(generation: int, length: int, grown: int) -> None:
    assert epoch_of(generation + 1, length + grown) > epoch_of(generation, length)
