"""Who leads begins when the read model shows all that those before may have done."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from streams import leading
from streams.leading import Lead, take_turns
from streams.log import LogUnavailable
from streams.watermark import Watermark

PLACE, OTHER = ("task-lifecycle", 0), ("tasks-cpu-high", 1)


class Installation:
    """A log, a projector, and whether this process leads."""

    def __init__(self) -> None:
        self.given = True
        self.log = {PLACE: 3, OTHER: 0}
        self.shown: dict[tuple[str, int], int] = {}
        self.asked = 0
        self.away = False
        self.lead = Lead(lambda: self.given, Watermark(self._ends, self._projected))

    async def _ends(self) -> dict[tuple[str, int], int]:
        self.asked += 1
        if self.away:
            raise LogUnavailable("the log is away")
        return dict(self.log)

    async def _projected(self) -> dict[tuple[str, int], int]:
        return dict(self.shown)


@pytest.fixture
def installation() -> Installation:
    """One in which this process leads, and the projector has seen nothing yet."""
    return Installation()


async def test_a_lead_begins_when_the_read_model_has_seen_what_the_log_held(installation: Installation) -> None:
    assert not await installation.lead.begun()
    installation.shown = {PLACE: 2}
    assert not await installation.lead.begun()
    installation.log[PLACE] = 100
    installation.shown = {PLACE: 3}
    assert await installation.lead.begun(), "what came after the lead is not waited for"
    installation.shown = {}
    assert await installation.lead.begun(), "what was seen is not asked for again"
    assert installation.asked == 1


async def test_a_lead_that_was_lost_begins_anew(installation: Installation) -> None:
    installation.shown = {PLACE: 3}
    assert await installation.lead.begun()
    installation.given = False
    assert not await installation.lead.begun()
    installation.given, installation.log = True, {PLACE: 9}
    assert not await installation.lead.begun()
    installation.shown = {PLACE: 9}
    assert await installation.lead.begun()


async def test_nobody_begins_who_cannot_ask_the_log(installation: Installation) -> None:
    installation.away = True
    with pytest.raises(LogUnavailable):
        await installation.lead.begun()
    installation.away, installation.shown = False, {PLACE: 3}
    assert await installation.lead.begun()


async def test_until_then_it_watches(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leading, "POLL_INTERVAL_SECONDS", 0.001)
    stop = asyncio.Event()
    seen: list[str] = []

    class Work:
        async def turn(self, at: datetime) -> None:
            assert at.tzinfo is UTC
            seen.append("turn")
            stop.set()

        async def watch(self, at: datetime) -> None:
            seen.append("watch")
            installation.shown = {PLACE: len(seen) + 1}

    await asyncio.wait_for(take_turns([Work()], stop, installation.lead), 10)
    assert seen == ["watch", "watch", "turn"]
