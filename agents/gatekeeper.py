"""Whether a task may start now: nothing that concerns it is paused, no other suspect runs, and no limit refuses it.

A lane whose first task is refused stays closed, for a reason that can be told, until what refused it is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from agents.limits.gates import Gates
from domain.configuration import Configuration
from domain.holds import model_offline, paused
from domain.limits.tickets import Refusal, Ticket
from domain.strategies.strategy import Lane, Waiting
from domain.waits import PAUSED, RECOVERY, Ledger


class Gatekeeper:
    """Everything that can refuse a start, in the order in which it is asked."""

    def __init__(self, resource_class: str, gates: Gates, ledger: Ledger, reopen: Callable[[Lane], None]) -> None:
        self.gates = gates
        self._resource_class, self._ledger, self._reopen = resource_class, ledger, reopen
        self._configuration = Configuration()
        self._closed: dict[Lane, Refusal] = {}
        #: The suspect that runs: one at a time, so that a killer cannot take another one along twice.
        self._suspect: str | None = None
        self._ticket: Ticket | None = None

    @property
    def closed(self) -> Mapping[Lane, Refusal]:
        """Lanes that are known to be closed, and by what."""
        return self._closed

    def admits(self, task: Waiting, now_ms: int) -> bool:
        """Whether the task may start now; if so, `admitted` must be called, else its lane is closed."""
        verdict = self._refused_here(task) or self.gates.admit(task.lane, task.cost, self.gates.clock())
        if isinstance(verdict, Refusal):
            self._closed[task.lane] = verdict
            self._ledger.close(task.lane, verdict.cause, now_ms)
            return False
        if task.lane.suspect:
            self._suspect = task.task_id
        self._ticket = verdict
        return True

    def admitted(self) -> Ticket:
        """What the task that was admitted last runs under; to be settled when its attempt has ended."""
        ticket, self._ticket = self._ticket, None
        assert ticket is not None, "nothing was admitted"
        return ticket

    def ended(self, task_id: str, now_ms: float) -> None:
        """No attempt of the task runs any more; another suspect may start."""
        if self._suspect == task_id:
            self._suspect = None
            self.open([lane for lane in self._closed if lane.suspect], now_ms)

    def open(self, lanes: Iterable[Lane], now_ms: float) -> None:
        """What refused these lanes may be over."""
        for lane in lanes:
            self._closed.pop(lane, None)
            self._ledger.open(lane, now_ms)
            self._reopen(lane)

    def configure(self, configuration: Configuration, now_ms: float) -> None:
        """Limits, pauses or models have changed. Call it when the lanes of what waits are up to date."""
        self._configuration = configuration
        self.gates.configure(configuration)
        self.open(list(self._closed), now_ms)

    def closed_providers(self) -> dict[str, Refusal]:
        """Providers that refuse tasks, for as long as is known, which they do to all lanes alike."""
        return {
            refusal.name: refusal
            for refusal in self._closed.values()
            if refusal.scope == "provider" and refusal.until is not None
        }

    def hold_reason(self, lane: Lane) -> str | None:
        """Why tasks of the lane are to wait outside the window, in the words of `domain.holds`."""
        if pause := self._configuration.pause_of(self._resource_class, lane.model, lane.tenant):
            return paused(pause.scope, pause.name)
        if lane.model is not None and not self._configuration.online(lane.model):
            return model_offline(lane.model)
        return None

    def _refused_here(self, task: Waiting) -> Refusal | None:
        lane = task.lane
        if pause := self._configuration.pause_of(self._resource_class, lane.model, lane.tenant):
            return Refusal(PAUSED, pause.scope, pause.name)  # type: ignore[arg-type]  # pauses know these scopes only
        if lane.model is not None and not self._configuration.online(lane.model):
            return Refusal(PAUSED, "model", lane.model)
        if lane.suspect and self._suspect is not None:
            return Refusal(RECOVERY, "class", self._resource_class)
        return None
