"""Cron expressions in a time zone: when a schedule is due, whatever the clocks of that zone do. Pure.

Five fields as in Debian's cron. Where clocks go forward, what was meant for the hour that is left out runs right after
it; where they go back, what is meant for a certain time of day runs once, and what is meant for every hour, or every so
many minutes, goes on in real time. Moments that come in and go out are aware UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Final, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from domain.errors import PenstockError

CatchUp = Literal["none", "last", "all"]
#: A tick that is submitted so much later is still in time: a leader that died has a successor by then.
PUNCTUAL_SECONDS: Final = 120.0
#: Ticks that passed while nobody was there and are caught up with; the oldest beyond these are left out.
CATCH_UP_TICKS_MAX: Final = 1000
#: What cron knows by name. `@reboot` is no time.
NICKNAMES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS: Final = 5
_SECOND: Final = timedelta(seconds=1)


class InvalidCron(PenstockError):
    """There is no such time; `field` says which of the two texts is wrong."""

    def __init__(self, field: Literal["cron", "time_zone"], detail: str) -> None:
        self.field = field
        super().__init__(detail)


@dataclass(frozen=True, slots=True)
class Cron:
    """A checked expression in its zone; made by `cron`."""

    expression: str
    zone: ZoneInfo

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The ticks after a moment, in order, for as long as there are any."""
        yield from self._ticks(moment)

    def before(self, moment: datetime) -> Iterator[datetime]:
        """The ticks up to a moment, the latest first."""
        yield from self._ticks(moment.replace(microsecond=0) + _SECOND, reverse=True)

    def _ticks(self, moment: datetime, *, reverse: bool = False) -> Iterator[datetime]:
        for tick in CronSim(self.expression, moment.astimezone(self.zone), reverse):
            yield tick.astimezone(UTC)


def cron(expression: str, time_zone: str) -> Cron:
    """The checked expression.

    Raises:
        InvalidCron: no cron expression of five fields, no name of one, no zone, or no time that ever comes.
    """
    try:
        zone = ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError) as error:
        raise InvalidCron("time_zone", f"there is no time zone {time_zone!r}") from error
    fields = NICKNAMES.get(expression.strip().lower(), expression).split()
    if len(fields) != _FIELDS:
        known = ", ".join(NICKNAMES)
        raise InvalidCron(
            "cron", f"must have five fields: minute, hour, day of month, month, day of week; or be {known}"
        )
    try:
        checked = Cron(" ".join(fields), zone)
        if next(checked.after(_SOME_TIME), None) is None:
            raise InvalidCron("cron", "never comes")
    except CronSimError as error:
        raise InvalidCron("cron", f"is no cron expression: {error}") from error
    return checked


_SOME_TIME = datetime(2026, 1, 1, tzinfo=UTC)


def due(rule: Cron, catch_up: CatchUp, last: datetime, now: datetime) -> list[datetime]:
    """The ticks to be submitted now, in order, given the last one that was, or when the schedule was made.

    Those of the last PUNCTUAL_SECONDS are in time, and due in any case. Of older ones, `none` leaves out all, `last`
    takes the latest if none is in time, `all` takes all but at most the latest CATCH_UP_TICKS_MAX.
    """
    punctual_from = now - timedelta(seconds=PUNCTUAL_SECONDS)
    ticks = _between(rule, max(last, punctual_from) if catch_up == "none" else last, now)
    if len(ticks) > CATCH_UP_TICKS_MAX:
        *_, earliest = islice(rule.before(now), CATCH_UP_TICKS_MAX)
        ticks = _between(rule, earliest - _SECOND, now)
    if catch_up == "last":
        return [tick for tick in ticks if tick > punctual_from] or ticks[-1:]
    return ticks[-CATCH_UP_TICKS_MAX:]


def _between(rule: Cron, begin: datetime, end: datetime) -> list[datetime]:
    """Ticks after `begin` and up to `end`; one more than are caught up with says that there are too many."""
    return list(takewhile(lambda tick: tick <= end, islice(rule.after(begin), CATCH_UP_TICKS_MAX + 1)))
