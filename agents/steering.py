"""What the configuration makes of the tasks that wait here: their order, their lanes, and whether they stay at all."""

from __future__ import annotations

import logging
from collections import deque
from datetime import UTC, datetime

from agents.departures import Departures
from agents.entries import Entry
from agents.gatekeeper import Gatekeeper
from agents.lanes import Lanes
from agents.window import Window
from domain.configuration import Configuration
from domain.strategies.choice import StrategyChoice
from domain.strategies.estimates import Estimates
from domain.strategies.make import make_strategy
from domain.strategies.strategy import Strategy
from domain.waits import Ledger

#: The strategy under which others' turns count as fairness; see `domain.waits`.
FAIR = "fair"


class StrategyMaker:
    """Makes strategies that share what was learned, so that a switch forgets nothing, and go by the present weights."""

    def __init__(self) -> None:
        self._learned = Estimates()
        self._configuration = Configuration()

    def configure(self, configuration: Configuration) -> None:
        """Weights may have changed."""
        self._configuration = configuration

    def make(self, choice: StrategyChoice) -> Strategy:
        """See `make_strategy`."""
        return make_strategy(choice, self._learned, self._weight)

    def _weight(self, tenant: str) -> float:
        return self._configuration.weight_of(tenant)

    @property
    def learned(self) -> Estimates:
        """How long tasks take, as far as this worker has seen."""
        return self._learned


class Steering:
    """Applies each configuration at once, and takes what is paused out of the window in bounded steps."""

    def __init__(
        self,
        resource_class: str,
        choice: StrategyChoice,
        maker: StrategyMaker,
        window: Window,
        lanes: Lanes,
        gatekeeper: Gatekeeper,
        ledger: Ledger,
    ) -> None:
        self._resource_class, self._maker = resource_class, maker
        self._window, self._lanes, self._gatekeeper, self._ledger = window, lanes, gatekeeper, ledger
        #: How the class's tasks are ordered at present.
        self.choice = choice
        #: What was found to be paused, and is still here.
        self._parked: deque[Entry] = deque()
        self._logger = logging.getLogger(__name__)

    def configure(self, configuration: Configuration) -> None:
        """Go by this configuration from now on."""
        now_ms = int(datetime.now(UTC).timestamp() * 1000)
        self._maker.configure(configuration)
        choice = configuration.strategy_of(self._resource_class)
        moved = self._lanes.configure(configuration)
        if choice != self.choice or moved:
            if choice != self.choice:
                self._logger.info("strategy of class %s: %s", self._resource_class, choice.name)
            self.choice = choice
            self._window.switch(self._maker.make(choice), now_ms)
            self._ledger.choose(now_ms, fair=choice.name == FAIR)
        self._gatekeeper.configure(configuration, now_ms)
        self._parked = deque(entry for entry in self._window.entries() if self._hold_reason(entry) is not None)

    def arrived(self, entry: Entry) -> None:
        """The entry waits here; it may have to wait elsewhere."""
        if self._hold_reason(entry) is not None:
            self._parked.append(entry)

    def hold_parked(self, departures: Departures, count_max: int) -> int:
        """Hold so many of the entries that are paused; how many are left."""
        now_ms = int(datetime.now(UTC).timestamp() * 1000)
        for _ in range(min(count_max, len(self._parked))):
            entry = self._parked.popleft()
            reason = self._hold_reason(entry)
            # It may have ended, or been resumed, meanwhile.
            if reason is not None and self._window.get(entry.task_id) is entry:
                departures.hold(entry, reason, now_ms)
        return len(self._parked)

    def _hold_reason(self, entry: Entry) -> str | None:
        return self._gatekeeper.hold_reason(self._lanes.lane_of(entry))
