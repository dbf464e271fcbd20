"""How models are doing, as measured by the workers that ask them: bounded, robust to outliers, and forgetful. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

from domain.dispatch_status import Dispatcher
from domain.routing import Measurement
from schemas.models import ModelDefinition

#: Calls that are remembered of each model, and for how long: a model that was bad an hour ago is tried again.
SAMPLES_MAX: Final = 64
SAMPLE_SECONDS_MAX: Final = 600.0


@dataclass(frozen=True, slots=True)
class Summary:
    """What one worker has measured of one model lately."""

    #: Median of the calls that succeeded.
    seconds: float | None = None
    successes: int = 0
    #: Calls that failed by a fault of the provider.
    failures: int = 0

    def as_json(self) -> dict[str, Any]:
        """What `summary_of` reads."""
        return asdict(self)


def summary_of(value: Mapping[str, Any]) -> Summary:
    """A summary as a worker told it; what another version left out reads as nothing."""
    seconds = value.get("seconds")
    return Summary(
        None if seconds is None else float(seconds), int(value.get("successes") or 0), int(value.get("failures") or 0)
    )


class Samples:
    """The last calls of one model. Times are seconds of any clock that goes on."""

    def __init__(self) -> None:
        self._calls: deque[tuple[float, float | None]] = deque(maxlen=SAMPLES_MAX)

    def add(self, at: float, seconds: float | None) -> None:
        """A call has ended; `seconds` is None where it failed by a fault of the provider."""
        self._calls.append((at, seconds))

    def summary(self, now: float) -> Summary:
        """Of the calls that are young enough."""
        recent = [seconds for at, seconds in self._calls if now - at <= SAMPLE_SECONDS_MAX]
        succeeded = [seconds for seconds in recent if seconds is not None]
        return Summary(median(succeeded) if succeeded else None, len(succeeded), len(recent) - len(succeeded))


def combined(summaries: Iterable[Summary]) -> Measurement:
    """What several workers have measured: the median of their medians, each weighing as much as it has calls."""
    given = list(summaries)
    successes, failures = sum(each.successes for each in given), sum(each.failures for each in given)
    # A single failure says little: as if one call more had succeeded.
    rate = failures / (successes + failures + 1)
    return Measurement(seconds=_weighted_median(given), error_rate=rate, samples=successes + failures)


@dataclass(frozen=True, slots=True)
class Block:
    """A provider takes no calls until then, in seconds since 1970."""

    until: float
    by: str


def measured(
    models: Mapping[str, ModelDefinition],
    summaries: Mapping[str, Iterable[Summary]],
    dispatchers: Iterable[Dispatcher],
    blocks: Mapping[str, Block],
) -> dict[str, Measurement]:
    """Of every model: the workers' summaries by model, their queues, and what their providers said."""
    waiting: dict[str, int] = {}
    running: dict[str, int] = {}
    blocked = dict(blocks)
    for lane in (lane for dispatcher in dispatchers for lane in dispatcher.lanes):
        if lane.model is not None:
            waiting[lane.model] = waiting.get(lane.model, 0) + lane.waiting
            running[lane.model] = running.get(lane.model, 0) + lane.running
        closed = lane.closed_by
        if closed is not None and closed.scope == "provider" and closed.cause == "backoff" and closed.until is not None:
            block = Block(closed.until.timestamp(), "circuit open")
            blocked[closed.name] = max(block, blocked.get(closed.name, block), key=lambda each: each.until)
    return {
        name: _measurement(model, summaries.get(name, ()), waiting, running, blocked.get(model.provider or ""))
        for name, model in models.items()
    }


def _measurement(
    model: ModelDefinition,
    summaries: Iterable[Summary],
    waiting: Mapping[str, int],
    running: Mapping[str, int],
    block: Block | None,
) -> Measurement:
    figures = combined(summaries)
    return Measurement(
        seconds=figures.seconds,
        error_rate=figures.error_rate,
        samples=figures.samples,
        waiting=waiting.get(model.name, 0),
        running=running.get(model.name, 0),
        blocked_until=None if block is None else block.until,
        blocked_by="" if block is None else block.by,
    )


def _weighted_median(summaries: Iterable[Summary]) -> float | None:
    known = sorted((each.seconds, each.successes) for each in summaries if each.seconds is not None)
    half, passed = sum(weight for _, weight in known) / 2, 0
    for seconds, weight in known:
        passed += weight
        if passed >= half:
            return seconds
    return None
