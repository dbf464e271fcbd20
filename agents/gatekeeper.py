"""Whether a task may start now: nothing of it is paused, no other suspect runs, there is room, and no limit refuses it.

What refuses keeps its lanes closed, for a reason that can be told, until it refuses no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from agents.limits.gates import Gates
from agents.room import Room
from domain.configuration import Configuration
from domain.holds import model_offline, paused
from domain.limits.tickets import Refusal, Ticket
from domain.strategies.strategy import Lane, Refuser, Waiting
from domain.waits import PAUSED, RECOVERY, Ledger

#: A suspect keeps others waiting for so long: what kills its worker mostly does so soon, and after a crash the work of
#: hours must not go on one task at a time.
SUSPICION_SECONDS = 3.0


class Gatekeeper:
    """Everything that can refuse a start, in the order in which it is asked."""

    def __init__(
        self, resource_class: str, gates: Gates, room: Room, ledger: Ledger, reopen: Callable[[Refuser], None]
    ) -> None:
        self.gates, self.room = gates, room
        self._resource_class, self._ledger, self._reopen = resource_class, ledger, reopen
        self._configuration = Configuration()
        #: What refuses, as far as is known.
        self._refusals: dict[Refuser, Refusal] = {}
        #: The suspect that began last, if others wait for it: a killer shall not take another one along twice.
        self._suspect: str | None = None
        self._suspected_ms = 0.0
        self._one_suspect = Refuser(RECOVERY, "suspect", resource_class)
        self._ticket: Ticket | None = None

    @property
    def closed(self) -> Mapping[Lane, Refusal]:
        """Lanes in which something waits and that are known to be closed, and by what."""
        return {lane: self._refusals[refuser] for lane, refuser in self._ledger.closed().items()}

    def refuser(self, task: Waiting, now_ms: int) -> Refuser | None:
        """What refuses the task's start now; None where it may start, and `admitted` must be called."""
        verdict = (
            self._refused_here(task)
            or self.room.refusal(task.lane)
            or self.gates.admit(task.lane, task.cost, self.gates.clock())
        )
        if isinstance(verdict, Refusal):
            refuser = self._one_suspect if verdict.cause == RECOVERY else verdict.refuser
            self._refusals[refuser] = verdict
            self._ledger.close(task.lane, refuser, now_ms)
            return refuser
        if task.lane.suspect:
            self._suspect, self._suspected_ms = task.task_id, now_ms
        self.room.take(task.task_id, task.lane)
        self._ticket = verdict
        return None

    def admitted(self) -> Ticket:
        """What the task that was admitted last runs under; to be settled when its attempt has ended."""
        ticket, self._ticket = self._ticket, None
        assert ticket is not None, "nothing was admitted"
        return ticket

    def ended(self, task_id: str, now_ms: float) -> None:
        """No attempt of the task runs any more; another suspect may start, and others find room."""
        self.room.put_back(task_id)
        if self._suspect == task_id:
            self._acquit(now_ms)

    def acquit(self, now_ms: float) -> None:
        """A suspect that has run for long enough keeps others waiting no more."""
        if self._suspect is not None and now_ms - self._suspected_ms >= SUSPICION_SECONDS * 1000:
            self._acquit(now_ms)

    def open(self, refusers: Iterable[Refuser], now_ms: float) -> None:
        """These may refuse no more."""
        for refuser in refusers:
            if self._refusals.pop(refuser, None) is not None:
                self._ledger.open(refuser, now_ms)
                self._reopen(refuser)

    def configure(self, configuration: Configuration, now_ms: float) -> None:
        """Limits, pauses or models have changed. Call it when the lanes of what waits are up to date."""
        self._configuration = configuration
        self.gates.configure(configuration)
        self.room.configure()
        self.open(list(self._refusals), now_ms)

    def closed_providers(self) -> dict[str, Refusal]:
        """Providers that refuse tasks, for as long as is known, which they do to all lanes alike."""
        return {
            refusal.name: refusal
            for refusal in self._refusals.values()
            if refusal.scope == "provider" and refusal.until is not None
        }

    def hold_reason(self, lane: Lane) -> str | None:
        """Why tasks of the lane are to wait outside the window, in the words of `domain.holds`."""
        if pause := self._configuration.pause_of(self._resource_class, lane.model, lane.tenant):
            return paused(pause.scope, pause.name)
        if lane.model is not None and not self._configuration.online(lane.model):
            return model_offline(lane.model)
        return None

    def _acquit(self, now_ms: float) -> None:
        self._suspect = None
        self.open([self._one_suspect], now_ms)

    def _refused_here(self, task: Waiting) -> Refusal | None:
        lane = task.lane
        if pause := self._configuration.pause_of(self._resource_class, lane.model, lane.tenant):
            return Refusal(PAUSED, pause.scope, pause.name)  # type: ignore[arg-type]  # pauses know these scopes only
        if lane.model is not None and not self._configuration.online(lane.model):
            return Refusal(PAUSED, "model", lane.model)
        if lane.suspect and self._suspect is not None:
            return Refusal(RECOVERY, "class", self._resource_class)
        return None
