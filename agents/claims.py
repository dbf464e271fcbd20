"""What is to be done with a record of a task that is not here yet. Pure.

A record may be the task itself, a copy that was made of it, work that comes back from a hold, or what a task that has
gone elsewhere left behind. The state that the record tells, and the facts that were recovered, say which.
"""

from __future__ import annotations

from enum import Enum, auto

from domain.states import TaskStatus
from domain.task import TaskState
from streams.shard_stream import ShardRecord

#: Order of the last fact that counted; see `TaskState.version`.
Version = tuple[int, int, int]
NO_VERSION: Version = (0, 0, 0)


class Claim(Enum):
    """What the owner does with a record."""

    #: The task is here: it waits, or its attempt was lost.
    TAKE = auto()
    #: The task has ended, or goes on without this record.
    LET_GO = auto()
    #: The task was routed elsewhere, and nobody may have told the new owner: append it there again.
    PASS_ON = auto()


def claim(record: ShardRecord, said: TaskState, state: TaskState, left: Version) -> Claim:
    """`said` is what the record itself tells, `state` the same with the facts that were recovered.

    `left` is the state in which the task was last let go of here, NO_VERSION where it was not.
    """
    if state.terminal or state.run > said.run or said.version < left:
        return Claim.LET_GO
    if state.routed_to and state.routing_key is not None and record.key != state.routing_key.encode():
        # Whoever wrote a fact after the route has the copy.
        return Claim.PASS_ON if state.status is TaskStatus.QUEUED else Claim.LET_GO
    if state.status is TaskStatus.HELD and state.epoch > 0 and said.version < state.version:
        # Its owner held it, which is newer than this record; what ends the hold brings a record of its own.
        return Claim.LET_GO
    return Claim.TAKE
