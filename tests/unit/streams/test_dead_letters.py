"""Dead letters: the record as it came, where it lay, and why it is here."""

import asyncio
from typing import Any

from schemas.envelope import Headers
from streams import dead_letters, topics
from streams.dead_letters import Origin
from streams.log import RecordTooLarge
from tests.support.memory_world import MemoryLog

ORIGIN = Origin("tasks-intake", 3, 99)


class Letterbox(MemoryLog):
    """Refuses values beyond a size, as a broker does."""

    async def append(
        self, topic: str, value: bytes | None, key: bytes | None, record_headers: Headers, partition: int | None = None
    ) -> asyncio.Future[Any]:
        """Keep a letter."""
        if len(value or b"") > 100:
            raise RecordTooLarge(topic)
        # A list, since headers may repeat.
        return self._done(await self.write(topic, (value, key, record_headers)))


async def test_a_letter_is_the_record_and_its_address() -> None:
    box = Letterbox()
    await dead_letters.bury(box, b"value", b"key", [("mine", b"1"), ("empty", None)], ORIGIN, "why: ä")
    ((value, key, headers),) = box.records[topics.DEAD_LETTERS]
    assert (value, key) == (b"value", b"key")
    assert headers[:2] == [("mine", b"1"), ("empty", b"")]
    assert dict(headers)[dead_letters.TOPIC_HEADER] == b"tasks-intake"
    assert dict(headers)[dead_letters.PARTITION_HEADER] == b"3"
    assert dict(headers)[dead_letters.OFFSET_HEADER] == b"99"
    assert dict(headers)[dead_letters.REASON_HEADER] == "why: ä".encode()


async def test_a_record_that_fits_nowhere_leaves_its_address() -> None:
    box = Letterbox()
    await dead_letters.bury(box, b"x" * 101, b"key", [], ORIGIN, "too large")
    ((value, _, headers),) = box.records[topics.DEAD_LETTERS]
    assert value is None
    assert dict(headers)[dead_letters.OMITTED_HEADER] == b"true"
    assert dict(headers)[dead_letters.OFFSET_HEADER] == b"99"


def test_a_reason_is_cut() -> None:
    headers = dict(dead_letters.letter_headers([], ORIGIN, "x" * 10_000))
    assert len(headers[dead_letters.REASON_HEADER]) == dead_letters.REASON_CHARACTERS_MAX
