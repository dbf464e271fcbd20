"""The attempts that occupy a slot of this worker, from the decision to start to the very end of their handlers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from agents.attempts import AttemptEnd
from agents.entries import Entry, Stop
from agents.gatekeeper import Gatekeeper
from agents.window import Window
from domain.decide import Complete
from domain.strategies.strategy import Lane, Running, Usage
from domain.waits import Ledger


class RunningAttempts:
    """`slots` at most. What an attempt takes is freed once, when it has really ended."""

    def __init__(self, slots: int, window: Window, gatekeeper: Gatekeeper, ledger: Ledger) -> None:
        self.slots = slots
        self._window, self._gatekeeper, self._ledger = window, gatekeeper, ledger
        self._active: set[Entry] = set()

    def __len__(self) -> int:
        return len(self._active)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._active))

    @property
    def free(self) -> int:
        """Slots in which nothing runs."""
        return self.slots - len(self._active)

    def lanes(self) -> Counter[Lane]:
        """Attempts by lane."""
        return Counter(entry.view.lane for entry in self._active if entry.view is not None)

    def add(self, entry: Entry, now_ms: float) -> None:
        """The entry, which was admitted last, occupies a slot."""
        assert entry.view is not None, "what starts has waited for its turn"
        self._active.add(entry)
        entry.stop = None
        entry.ticket = self._gatekeeper.admitted()
        self._ledger.started(entry.view.lane, entry.view.priority, now_ms)

    def ended(self, entry: Entry, end: AttemptEnd) -> bool:
        """Nothing of the attempt runs any more; whether it was still counted."""
        if entry not in self._active:
            return False
        self._active.discard(entry)
        assert entry.view is not None, "what starts has waited for its turn"
        assert entry.ticket is not None, "what starts was admitted"
        now_ms = datetime.now(UTC).timestamp() * 1000
        self._ledger.ended(entry.view.lane, entry.view.priority, now_ms)
        self._window.ended(entry, _usage(entry, end))
        ticket, entry.ticket = entry.ticket, None
        self._gatekeeper.gates.settle(ticket, tokens=end.tokens, error=end.error, stopped=end.stopped)
        self._gatekeeper.ended(entry.task_id, now_ms)
        return True

    def forget_lost(self) -> None:
        """The start of a task of a lost shard is never acknowledged, so nothing else frees its slot."""
        for entry in self:
            if entry.lost and entry.execution is None:
                self.ended(entry, AttemptEnd(command=None, stopped=True))

    def ask_for_slots(self, now_ms: int) -> None:
        """Ask those to hand back their slots that the strategy wants to make room."""
        if not any(entry.preemptible for entry in self._active):
            return
        by_id = {entry.task_id: entry for entry in self._active if entry.execution is not None}
        for task_id in self._window.strategy.victims(map(_running, by_id.values()), self.free, now_ms):
            if (entry := by_id.get(task_id)) is not None:
                ask_to_yield(entry)

    def stop_lapsed(self) -> None:
        """Stop what runs under a permit that cannot be relied on any more."""
        lapsed = set(self._gatekeeper.gates.lapsed())
        if not lapsed:
            return
        for entry in self._active:
            if entry.ticket in lapsed and entry.stop in (None, Stop.YIELD):
                entry.stop = Stop.LAPSED
                if entry.execution is not None:
                    entry.execution.cancel()


def ask_to_yield(entry: Entry) -> None:
    """Ask the attempt to hand its slot back at its next checkpoint, if it can."""
    if entry.preemptible and entry.stop is None and entry.yield_asked is not None:
        entry.stop = Stop.YIELD
        entry.yield_asked.set()


def _running(entry: Entry) -> Running:
    assert entry.view is not None, "what starts has waited for its turn"
    started_at = entry.state.started_at
    return Running(
        task_id=entry.task_id,
        lane=entry.view.lane,
        priority=entry.view.priority,
        started_ms=0 if started_at is None else int(started_at.timestamp() * 1000),
        preemptible=entry.preemptible,
        asked=entry.stop is not None,
    )


def _usage(entry: Entry, end: AttemptEnd) -> Usage:
    """By the recorded moments, so that a replay learns the same."""
    started_at = entry.state.started_at
    if end.command is None or started_at is None:
        return Usage(0.0, complete=False)
    seconds = max(0.0, (end.command.at - started_at).total_seconds())
    return Usage(seconds, end.tokens, isinstance(end.command, Complete))
