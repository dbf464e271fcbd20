"""What comes of the records that are handed out: new tasks, and other records of tasks that are here, or were.

The log may hand a record out again at any time. What has ended or left here is remembered, so that a late copy or a
repeated submission brings no second run of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Protocol

from agents.claims import NO_VERSION, Claim, Version, claim
from agents.departures import Departures
from agents.entries import Entry
from agents.recovery import RecoveredFacts
from agents.remembered import Remembered
from agents.wait_accounts import WaitAccounts
from agents.window import Window
from domain.decide import Lose, OwnerCommand
from domain.states import ACTIVE
from domain.task import TaskState
from schemas.codec import UndecodableRecord, decode
from schemas.events import TaskSubmitted
from streams.shard_stream import ShardRecord
from streams.state_header import STATE_HEADER, copied_by, state_said


class Keeper(Protocol):
    """What arrivals need of the owner."""

    name: str
    entries: dict[str, Entry]
    departures: Departures

    def commit(self, entry: Entry, command: OwnerCommand, then: Callable[[], None]) -> bool:
        """See `Owner.commit`."""

    def settle(self, entry: Entry) -> None:
        """See `Owner.settle`."""

    def finish(self, record: ShardRecord) -> None:
        """See `Owner.finish`."""


def submission_in(record: ShardRecord, resource_class: str) -> TaskSubmitted:
    """The task in a record of a class topic.

    Raises:
        UndecodableRecord: it holds none, or one of another class.
    """
    if record.value is None:
        raise UndecodableRecord("the record has no value")
    message = decode(record.value)
    if not isinstance(message, TaskSubmitted):
        raise UndecodableRecord(f"a {message.TYPE} does not belong on {record.topic}")
    if message.resource_class != resource_class:
        raise UndecodableRecord(f"work of class {message.resource_class!r} does not belong on {record.topic}")
    return message


class Arrivals:
    """The records of one worker."""

    def __init__(self, owner: Keeper, window: Window, accounts: WaitAccounts) -> None:
        self._owner, self._window, self._accounts = owner, window, accounts
        #: What the log says of the tasks whose records are still to come.
        self.recovered = RecoveredFacts()
        #: By shard: the newest run of each task that has ended here.
        self._finished: dict[int, Remembered[int]] = {}
        #: By shard: where each task stood that has gone on elsewhere.
        self._gone: dict[int, Remembered[Version]] = {}
        self._next_runs: dict[str, tuple[ShardRecord, TaskSubmitted]] = {}

    def begin(self, shards: Iterable[int], kept: frozenset[int]) -> None:
        """These shards are owned from now on; those kept were before, with nobody between."""
        # What was finished while another owned the shard, unknown to us, has not ended: the log says what did.
        self._finished = {shard: self._finished[shard] if shard in kept else Remembered(0) for shard in shards}
        self._gone = {shard: self._gone[shard] if shard in kept else Remembered(NO_VERSION) for shard in shards}
        self._next_runs.clear()

    def take(self, record: ShardRecord, submission: TaskSubmitted) -> None:
        """A record was handed out, and this is the task in it.

        Raises:
            Exception: whatever is wrong with it; nothing has come of the record then.
        """
        task_id = submission.task_id
        entry = self._owner.entries.get(task_id)
        if entry is not None:
            self._adopt(entry, record, submission)
            return
        if self._finished[record.shard].of(task_id) >= submission.run:
            self._owner.finish(record)
            return
        said = state_said(record.headers, submission)
        state = self.recovered.state(said)
        match claim(record, said, state, self._gone[record.shard].of(task_id)):
            case Claim.TAKE:
                self._enter(record, submission, state)
            case Claim.PASS_ON:
                entry = self._owner.entries[task_id] = Entry(submission, state, record, leaving=True)
                self._owner.departures.pass_on(entry)
            case Claim.LET_GO:
                if state.terminal or state.run > submission.run:
                    # A later run may still be at work: only this one is known to have ended.
                    self._finished[record.shard].add(task_id, submission.run)
                else:
                    self._gone[record.shard].add(task_id, state.version)
                self._owner.finish(record)

    def ended(self, entry: Entry) -> None:
        """The run of an entry is over here; the next one may have come already."""
        self._finished[entry.record.shard].add(entry.task_id, entry.state.run)
        self._take_next(entry.task_id)

    def left(self, entry: Entry) -> None:
        """An entry goes on elsewhere."""
        self._gone[entry.record.shard].add(entry.task_id, entry.state.version)
        self._take_next(entry.task_id)

    def _take_next(self, task_id: str) -> None:
        if next_run := self._next_runs.pop(task_id, None):
            self.take(*next_run)

    def _enter(self, record: ShardRecord, submission: TaskSubmitted, state: TaskState) -> None:
        entry = self._owner.entries[submission.task_id] = Entry(submission, state, record)
        self._accounts.entered(
            entry,
            datetime.now(UTC),
            recovered=self.recovered.awaits(record),
            was_full=self._window.was_full_since(entry.band, record.timestamp_ms),
        )
        if state.status in ACTIVE:
            self._owner.commit(entry, Lose(at=datetime.now(UTC)), lambda: self._owner.settle(entry))
        else:
            self._owner.settle(entry)

    def _adopt(self, entry: Entry, record: ShardRecord, submission: TaskSubmitted) -> None:
        """Another record of a task that is here already."""
        if submission.run > entry.state.run:
            # A retry by hand, read before the end of the run before it was acknowledged to us.
            if entry.task_id in self._next_runs:
                self._owner.finish(record)
            else:
                self._next_runs[entry.task_id] = (record, submission)
        elif record.position == entry.record.position:
            self._window.moved(entry, record, int(time.time() * 1000))
        elif submission.run == entry.state.run and self._replaces(record, submission, entry):
            old = entry.record
            self._window.moved(entry, record, int(time.time() * 1000))
            self._owner.finish(old)
            if entry.leaving:
                # It was to go elsewhere, and that is here.
                entry.leaving = False
                self._owner.settle(entry)
        else:
            # A run that has ended, or a repeated submission. The older record stays: a recovery that began at the
            # repeat, which says nothing of the task's state, would not read what happened before it.
            self._owner.finish(record)

    def _replaces(self, record: ShardRecord, submission: TaskSubmitted, entry: Entry) -> bool:
        """Whether the record says as much of its task as a recovery needs that begins to read at it.

        A copy that this worker made does: it has written nothing about the task before that the copy does not say.
        Another one may be the late copy of an owner that was replaced, or of one that passed the task on to here.
        """
        if STATE_HEADER not in record.headers:
            return False
        if not entry.leaving and copied_by(record.headers) == self._owner.name:
            return True
        return state_said(record.headers, submission).version >= entry.state.version
