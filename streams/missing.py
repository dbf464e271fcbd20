"""Tasks that wait for ids which nobody has submitted: how long until that is taken for a mistake."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta

from streams.watermark import Watermark
from streams.wishes import Run

#: So many are remembered; the oldest are forgotten first, and their time begins anew.
MISSING_MAX = 100_000


class Missing:
    """An id may be submitted after those that wait for it, and read later still.

    So it is given up only after a time during which this process has found it missing, and when the read model has
    then seen all that the log held at the end of that time.
    """

    def __init__(self, grace_seconds: float, watermark: Watermark | None) -> None:
        """Without a watermark the read model is believed as it is."""
        self._grace, self._watermark = timedelta(seconds=grace_seconds), watermark
        self._since: OrderedDict[Run, datetime] = OrderedDict()
        #: Their time is over: next to be asked about, asked about at present, and known to be missing.
        self._late: set[Run] = set()
        self._doubted: set[Run] = set()
        self._lost: set[Run] = set()

    async def look(self) -> None:
        """To be called before the read model is asked which ids it knows.

        Raises:
            LogUnavailable, ReadModelUnavailable: nobody can tell.
        """
        if self._late and not self._doubted:
            self._doubted, self._late = self._late, set()
            if self._watermark is not None:
                self._watermark.renew()
        if self._doubted and (self._watermark is None or await self._watermark.passed()):
            self._lost |= self._doubted
            self._doubted = set()

    def given_up(self, run: Run, at: datetime) -> bool:
        """Whether a task that waits for an unknown id waits in vain."""
        if run in self._lost:
            return True
        if at - self._since.setdefault(run, at) >= self._grace and run not in self._doubted:
            self._late.add(run)
        while len(self._since) > MISSING_MAX:
            self.found(next(iter(self._since)))
        return False

    def found(self, run: Run) -> None:
        """A task knows all that it waits for."""
        if self._since.pop(run, None) is not None:
            for each in (self._late, self._doubted, self._lost):
                each.discard(run)
