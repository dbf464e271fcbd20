"""What each entry has waited for: before it came here, until its retry was due, and in its lane.

A wait counts from the moment the task was submitted, or its last attempt ended, to its next start. The parts of it
that nobody here could watch are told by what is known of them: see `WaitAccounts.entered`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from agents.entries import Entry
from domain import waits
from domain.states import TaskStatus
from domain.strategies.strategy import Lane
from domain.waits import Ledger, in_whole_ms
from schemas import events
from schemas.events import LifecycleEvent
from streams.state_header import STATE_HEADER

#: A record that is appended so much later than it was submitted was held by somebody.
APPEND_MS_MAX = 1000.0
#: After these facts a task waits for its next attempt.
_ENDS_OF_ATTEMPTS = (
    events.TaskYielded,
    events.TaskReleased,
    events.TaskAttemptLost,
    events.TaskRetryScheduled,
)


class WaitAccounts:
    """For the entries of one worker; entries carry their own sums."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def entered(self, entry: Entry, at: datetime, *, recovered: bool, was_full: bool) -> None:
        """The entry comes here with its record.

        `recovered`: the record lay in the log before the worker owned its shard; `was_full`: its band had no room.
        """
        entry.entered_at = at
        began_at = entry.waiting_from = entry.state.wait_began_at or entry.submission.occurred_at
        appended_at = max(began_at, datetime.fromtimestamp(entry.record.timestamp_ms / 1000, UTC))
        since = max(0.0, _ms(at - appended_at))
        entry.waited_before = _sum(
            _before_the_record(entry, began_at, appended_at),
            {waits.RECOVERY if recovered else waits.CONCURRENCY if was_full else waits.DELIVERY: since},
        )

    def decided(self, entry: Entry, fact: LifecycleEvent) -> None:
        """A fact of the entry: those that end an attempt begin a wait."""
        if isinstance(fact, _ENDS_OF_ATTEMPTS):
            entry.waiting_from, entry.waited_before = fact.occurred_at, {}
            # What hands back its slot by itself goes to the end of the line; what is handed back keeps its place.
            by_itself = isinstance(fact, events.TaskYielded)
            entry.queued_ms = int(fact.occurred_at.timestamp() * 1000) if by_itself else 0

    def due(self, entry: Entry, at: datetime) -> None:
        """A retry, or what a provider has put off, waited for until now, and stands in line from now on."""
        entry.entered_at = at
        if entry.waiting_from is not None:
            waited = _ms(at - entry.waiting_from) - sum(entry.waited_before.values())
            cause = waits.RATE_LIMIT if entry.state.status is TaskStatus.QUEUED else waits.BACKOFF
            entry.waited_before = _sum(entry.waited_before, {cause: max(0.0, waited)})

    def in_lane(self, entry: Entry, lane: Lane, now_ms: float) -> None:
        """The entry waits for its turn in this lane from now on, whatever it waited in before."""
        if entry.mark is not None:
            sums = self.ledger.waited(entry.mark, entry.priority, now_ms)
            entry.waited_before = _sum(entry.waited_before, sums)
        entry.mark = self.ledger.mark(lane, now_ms)

    def left(self, entry: Entry) -> None:
        """The entry waits no more, and nobody will ask for what it waited."""
        if entry.mark is not None:
            self.ledger.dropped(entry.mark)
            entry.mark = None

    def started(self, entry: Entry, at: datetime) -> dict[str, int]:
        """The entry starts: what it has waited for, in milliseconds that sum to the whole wait."""
        assert entry.mark is not None, "what starts has waited for its turn"
        sums = self.ledger.waited(entry.mark, entry.priority, at.timestamp() * 1000)
        entry.mark = None
        total = _ms(at - (entry.waiting_from or at))
        return in_whole_ms(_sum(entry.waited_before, sums), max(0, round(total)))


def _before_the_record(entry: Entry, began_at: datetime, appended_at: datetime) -> dict[str, float]:
    before, state = _ms(appended_at - began_at), entry.state
    if STATE_HEADER not in entry.record.headers:
        return {waits.HELD if before > APPEND_MS_MAX else waits.DELIVERY: before}
    if state.status is not TaskStatus.HELD:
        # A copy, of which only the owner before knew what it waited for.
        return {waits.RECOVERY if before > APPEND_MS_MAX else waits.DELIVERY: before}
    if not state.epoch:
        return {waits.HELD: before}
    # Owners hold what is paused; all else is held before it has an owner. What the task waited for in that owner's
    # line is not on record: a retry's delay where one was given, a slot otherwise.
    held_at = min(max(state.first_held_at or began_at, began_at), appended_at)
    in_line = _ms(held_at - began_at)
    cause = waits.DELIVERY if in_line <= APPEND_MS_MAX else waits.BACKOFF if state.due_at else waits.CONCURRENCY
    return {cause: in_line, waits.PAUSED: before - in_line}


def _ms(passed: timedelta) -> float:
    return passed / timedelta(milliseconds=1)


def _sum(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    return {cause: one.get(cause, 0.0) + other.get(cause, 0.0) for cause in one.keys() | other.keys()}
