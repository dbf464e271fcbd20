"""What is known about a task's wait, what is said of it, and the words for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from domain import waits
from domain.configuration import Configuration, Pause
from domain.dispatch_status import Dispatcher
from domain.line import Line
from domain.spoken import duration, listed, moment, one_line
from domain.task import TaskState

#: A shorter wait is left out of a sentence.
SAID_MS_MIN = 50
#: A wait for this cause, as a sentence puts it.
WAITED_FOR: Mapping[str, str] = {
    waits.DELIVERY: "on its way",
    waits.PRIORITY: "for more urgent work",
    waits.FAIRNESS: "for other tenants' turns",
    waits.CONCURRENCY: "for a free slot",
    waits.RATE_LIMIT: "for a rate limit",
    waits.MEMORY: "for memory",
    waits.MODEL_LOADING: "for its model to load",
    waits.BACKOFF: "between attempts",
    waits.HELD: "held back",
    waits.PAUSED: "while it was paused",
    waits.RECOVERY: "for a worker",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What is known of a task and of what is around it."""

    state: TaskState
    now: datetime
    configuration: Configuration
    #: Why it is held; see `domain.holds`.
    hold_reason: str | None = None
    #: None where it does not stand in line.
    line: Line | None = None
    #: The workers of its class that were heard of lately.
    dispatchers: Sequence[Dispatcher] = ()
    #: Milliseconds that it waited before the attempts of this run, by cause.
    waited_ms: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The sentence and its parts; what does not apply is None."""

    sentence: str
    #: One of `domain.waits`, for a task that waits.
    cause: str | None = None
    #: Its place in the line that it waits in; counts from 1.
    position: int | None = None
    ahead: int | None = None
    #: Whose line that is, such as `model qwen` or `class llm`.
    line: str | None = None
    #: Until it probably starts.
    estimate_seconds: float | None = None
    #: From now on, it starts at the latest after so many seconds and then so many starts of its class, as its strategy
    #: promises to whoever may start all the time.
    bound_after_seconds: float | None = None
    bound_starts: int | None = None
    #: The same as a time, by how long attempts have taken.
    bound_seconds: float | None = None
    #: By cause, of a task that has started.
    waited_ms: Mapping[str, int] = field(default_factory=dict)


def waited(causes: Mapping[str, int]) -> str:
    """`41 s: 30 s for more urgent work and 11 s for a free slot`; the longest first, next to nothing left out."""
    total = duration(sum(causes.values()) / 1000)
    longest = sorted(causes.items(), key=lambda each: -each[1])
    worth_saying = [each for each in longest if each[1] >= SAID_MS_MIN] or longest[:1]
    parts = [f"{duration(ms / 1000)} {WAITED_FOR.get(cause, f'for {cause}')}" for cause, ms in worth_saying if ms]
    match parts:
        case []:
            return "no time"
        case [_]:
            return f"{total} {WAITED_FOR.get(worth_saying[0][0], f'for {worth_saying[0][0]}')}"
    return f"{total}: {listed(parts, 4)}"


def until_resumed(scope: str, name: str, pause: Pause | None, now: datetime) -> str:
    """The sentence of a task whose class, model or tenant is paused."""
    if pause is None:
        return f"It waits until {scope} {name} is resumed."
    by = f" by {pause.paused_by}" if pause.paused_by else ""
    why = f": {one_line(pause.reason)}" if pause.reason != "requested" else ""
    return stopped(
        f"It waits until {scope} {name} is resumed, which was paused{by} at {moment(pause.paused_at, now)}{why}"
    )


def seconds_to(until: datetime, now: datetime) -> float:
    """0 for what has passed."""
    return max(0.0, (until - now).total_seconds())


def stopped(sentence: str) -> str:
    """One full stop at its end, whatever a reason from elsewhere ends with."""
    return sentence.rstrip(". :") + "."
