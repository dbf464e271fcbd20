"""What the dispatcher and the simulator ask of a strategy, and what a strategy may know of tasks.

A strategy is pure: the clock is passed in, and whether a task may start now is the caller's to say. Tasks to which the
very same limits apply wait in one lane. A refusal names what refuses; all lanes that it has refused stay closed until
it is said to refuse no more, so that one start never scans what waits behind closed limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

#: Lanes of which one object stands for all that are equal.
LANES_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Lane:
    """All waiting tasks to which the very same limits apply. Its hash is kept: a start looks it up a dozen times."""

    model: str | None
    provider: str | None
    task_type: str
    tenant: str
    #: An attempt of each of its tasks died with its worker.
    suspect: bool = False
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        given = (self.model, self.provider, self.task_type, self.tenant, self.suspect)
        object.__setattr__(self, "_hash", hash(given))

    def __hash__(self) -> int:
        return self._hash


@lru_cache(maxsize=LANES_REMEMBERED)
def lane_of(model: str | None, provider: str | None, task_type: str, tenant: str, suspect: bool = False) -> Lane:
    """The lane of these; mostly the very object that was given before, which compares faster than an equal one."""
    return Lane(model, provider, task_type, tenant, suspect)


#: Scopes of which one name applies to all lanes to which one name of the given scope applies.
_WIDER: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "model": ("provider", "class", "node"),
        "provider": ("class", "node"),
        "type": ("class", "node"),
        "tenant": ("class", "node"),
        "suspect": ("class", "node"),
        "class": ("node",),
    }
)


class Refuser(NamedTuple):
    """What keeps a task from its start, and while it does, all tasks of the lanes that it applies to."""

    #: A cause of waiting: one limit may refuse for several.
    cause: str
    #: What of a lane it goes by, and which one of these.
    scope: str
    name: str | Lane

    @classmethod
    def of(cls, lane: Lane) -> Refuser:
        """What refuses one lane and no other."""
        return cls("", "lane", lane)

    def includes(self, other: Refuser) -> bool:
        """Whether it applies to all lanes that the other applies to, where it applies to one of them.

        Never in both directions, and never in a circle.
        """
        if self.scope == other.scope:
            return self.name == other.name and self.cause > other.cause
        return self.scope in _WIDER.get(other.scope, ())


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a strategy may know of a waiting task."""

    task_id: str
    lane: Lane
    #: A higher number goes first where the strategy heeds priorities.
    priority: int
    #: Milliseconds since 1970 at which the log accepted it; the order among tasks of one millisecond is by `tie`.
    accepted_ms: int
    #: Shard and offset of the record that brought it.
    tie: tuple[int, int] = (0, 0)
    #: How long it will run, as its sender says.
    estimate_seconds: float | None = None
    #: Tokens that it may use (prompt and longest answer), where its class counts tokens.
    cost: float = 1.0
    #: Milliseconds since 1970 from which on it must not start any more.
    deadline_ms: int | None = None
    #: When it last began to wait, where that was not its acceptance: milliseconds since 1970 of its yield or due time.
    queued_ms: int = 0

    @property
    def arrival(self) -> tuple[int, ...]:
        """Where it stands in the order of acceptance."""
        return (self.accepted_ms, *self.tie)

    @property
    def since_ms(self) -> int:
        """Milliseconds since 1970 from which on its present wait counts."""
        return max(self.queued_ms, self.accepted_ms)


@dataclass(frozen=True, slots=True)
class Running:
    """What a strategy may know of an attempt that occupies a slot."""

    task_id: str
    lane: Lane
    priority: int
    #: Milliseconds since 1970 at which the attempt started.
    started_ms: int
    #: Whether its handler gives the slot back when asked, and goes on later from where it was.
    preemptible: bool
    #: Whether it was asked already, and has not ended yet.
    asked: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """What an attempt took.

    `seconds` is the difference of the recorded moments of its start and its end, so that a replay learns the same.
    """

    seconds: float
    #: None where its class counts none.
    tokens: float | None = None
    #: False when the task is not done: the attempt yielded, failed or was stopped. It is charged, and teaches nothing.
    complete: bool = True


@dataclass(frozen=True, slots=True)
class WaitBound:
    """The longest wait of a task that is startable all the time: so many seconds, and from then on so many starts.

    Starts, as that is what a strategy decides on; `seconds` turns them into a time.
    """

    after_seconds: float
    #: At the latest this start is the task's own.
    starts: int

    def seconds(self, mean_service_seconds: float, slots: int) -> float:
        """The bound as a time, where all slots are busy with attempts that take so long on average."""
        return self.after_seconds + self.starts * mean_service_seconds / slots


class Strategy(Protocol):
    """An order over waiting tasks. Each step but `waiting` takes O(log n) of the tasks that wait."""

    def push(self, task: Waiting, now_ms: int) -> None:
        """The task waits from now on; a task that waits already is replaced."""

    def pop(self, now_ms: int, refuser: Callable[[Waiting], Refuser | None]) -> Waiting | None:
        """The task to start next, which then waits no more; None when no task of an open lane may start.

        `refuser` says what refuses the task, or None where it may start. A refused task goes on waiting; its lane, and
        all lanes that the same has refused before, are closed. A task past its deadline is never given.
        Each task that is given is handed to `ended` once, even when its start came to nothing.
        """

    def reopen(self, refuser: Refuser) -> None:
        """It may refuse no more: what it closed is open, as far as nothing else closes it. O(log n), however much."""

    def discard(self, task_id: str) -> None:
        """The task waits no more; nothing happens where it does not wait."""

    def expired(self, now_ms: int) -> list[Waiting]:
        """The tasks whose deadline has passed, earliest first; they wait no more."""

    def ended(self, task: Waiting, usage: Usage) -> None:
        """An attempt of the task is over, in whatever way: settles fairness, and teaches estimates."""

    def victims(self, running: Iterable[Running], free_slots: int, now_ms: int) -> list[str]:
        """Ids of the running tasks to ask for their slots, for the sake of those that wait."""

    def wait_bound(self, older: int) -> WaitBound | None:
        """The published bound for a task while `older` ones have waited longer; None where the strategy has none."""

    def waiting(self) -> list[Waiting]:
        """All that wait, in no order: what a switch to another strategy moves over."""

    def __len__(self) -> int: ...
