"""An id that nobody has submitted is given up in time, and never while it may only not have been read yet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from streams import missing
from streams.missing import Missing
from streams.watermark import Watermark
from tests.unit.streams.test_leading import PLACE, Installation

AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
GRACE = timedelta(seconds=300)
RUN, OTHER = ("a", 1), ("b", 1)


async def given_up(found: Missing, at: datetime, run: tuple[str, int] = RUN) -> bool:
    """One turn in which the run still waits for an unknown id."""
    await found.look()
    return found.given_up(run, at)


async def test_it_is_given_up_after_the_grace_and_stays_so() -> None:
    found = Missing(GRACE.total_seconds(), None)
    assert not await given_up(found, AT)
    assert not await given_up(found, AT + GRACE - timedelta(seconds=1))
    assert not await given_up(found, AT + GRACE), "the read model is looked at once more"
    assert await given_up(found, AT + GRACE)
    assert await given_up(found, AT + GRACE), "until the log has it"


async def test_it_is_not_given_up_while_the_read_model_lags() -> None:
    installation = Installation()
    found = Missing(GRACE.total_seconds(), Watermark(installation._ends, installation._projected))
    await given_up(found, AT)
    for seconds in range(5):
        assert not await given_up(found, AT + GRACE + timedelta(seconds=seconds))
    installation.shown = dict(installation.log)
    assert await given_up(found, AT + GRACE + timedelta(seconds=5))


async def test_what_the_log_held_at_the_end_of_the_grace_counts() -> None:
    """The watermark of an earlier one says nothing of what came since."""
    installation = Installation()
    installation.shown = dict(installation.log)
    found = Missing(GRACE.total_seconds(), Watermark(installation._ends, installation._projected))
    await given_up(found, AT)
    assert not await given_up(found, AT + GRACE)
    assert await given_up(found, AT + GRACE)
    await given_up(found, AT + GRACE, OTHER)
    installation.log[PLACE] += 1
    late = AT + 2 * GRACE
    assert not await given_up(found, late, OTHER)
    assert not await given_up(found, late, OTHER)
    installation.shown = dict(installation.log)
    assert await given_up(found, late, OTHER)


async def test_its_time_begins_anew_once_it_was_found() -> None:
    found = Missing(GRACE.total_seconds(), None)
    await given_up(found, AT)
    found.found(RUN)
    assert not await given_up(found, AT + GRACE)
    assert not await given_up(found, AT + GRACE)


async def test_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing, "MISSING_MAX", 10)
    found = Missing(GRACE.total_seconds(), None)
    for number in range(missing.MISSING_MAX + 1):
        found.given_up((str(number), 1), AT)
    assert len(found._since) == missing.MISSING_MAX
