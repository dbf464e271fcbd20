import pytest

from streams import history, topics
from streams.admin import ensure_topics
from streams.log import EventLog

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
