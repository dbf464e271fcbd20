import uuid
from collections import defaultdict

import pytest

from schemas import events
from schemas.codec import decode
from schemas.events import LifecycleEvent
from streams import history, topics
from streams.admin import ensure_topics
from streams.log import EventLog, RecordTooLarge
from tests.support.given import fact

pytestmark = pytest.mark.external_service


async def test_a_record_without_key_and_value_can_be_written(kafka: str) -> None:
    """Outsiders can send one, so that it must be possible to bury it."""
    await ensure_topics(kafka, topics.SHARED)
    async with EventLog(kafka) as log:
        written = await log.acknowledged(await log.append(topics.DEAD_LETTERS, None, None, [("why", b"test")]))
    async with history.reader(kafka, [topics.DEAD_LETTERS]) as consumer:
        async for records in history.read_to_end(consumer):
            if found := [record for record in records if record.offset == written.offset]:
                assert (found[0].value, found[0].headers) == (None, (("why", b"test"),))
                return
    pytest.fail("it is not there")


async def test_facts_of_one_task_keep_their_order_however_many_batches_they_fill(kafka: str) -> None:
    await ensure_topics(kafka, topics.SHARED)
    run = uuid.uuid4().hex
    tasks = [f"{run}-{number}" for number in range(20)]
    facts = [failure(task, sequence, "x" * 5000) for sequence in range(1, 61) for task in tasks]
    async with EventLog(kafka) as log:
        for _ in range(2):
            await log.all_acknowledged(await log.record_all((each, None) for each in facts))
    found = defaultdict[str, list[int]](list)
    async with history.reader(kafka, [topics.LIFECYCLE]) as consumer:
        async for records in history.read_to_end(consumer):
            for record in records:
                if record.key is not None and record.key.decode() in tasks:
                    assert record.value is not None
                    one = decode(record.value)
                    assert isinstance(one, events.TaskFailed)
                    assert dict(record.headers)["ce_id"] == one.event_id.encode()
                    found[one.task_id].append(one.sequence)
    assert found == {task: [*range(1, 61)] * 2 for task in tasks}


async def test_a_fact_that_the_broker_would_refuse_is_told_from_a_log_that_is_away(kafka: str) -> None:
    await ensure_topics(kafka, topics.SHARED)
    async with EventLog(kafka) as log:
        with pytest.raises(RecordTooLarge):
            await log.record_all([(failure("t", 1, "x" * (topics.RECORD_BYTES_MAX + 1)), None)])


def failure(task_id: str, sequence: int, detail: str) -> LifecycleEvent:
    return fact(events.TaskFailed, sequence, task_id=task_id, error_code="refused", error_detail=detail)  # type: ignore[return-value]  # no submission
