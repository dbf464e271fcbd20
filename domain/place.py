"""Where a waiting task stands, in words and figures: in the line of its class, or of what closes its lane."""

from __future__ import annotations

from collections.abc import Sequence

from domain import waits
from domain.configuration import Configuration
from domain.dispatch_status import Closure, Dispatcher, LaneStatus
from domain.explanation import Circumstances, Explanation, seconds_to
from domain.limits.limit import EACH, Limit
from domain.line import Line, Within
from domain.models import DEFAULT_KEY
from domain.spoken import counted, duration, moment, ordinal
from domain.strategies.estimates import Estimates
from domain.strategies.make import make_strategy
from domain.task import TaskState


def closure_of(state: TaskState, dispatchers: Sequence[Dispatcher]) -> Closure | None:
    """What closes the task's lane, where anything does."""
    submission = state.submission
    if submission is None:
        return None
    mine = (state.model, submission.type, submission.tenant)
    lanes = (lane for worker in dispatchers for lane in worker.lanes)
    return next(
        (lane.closed_by for lane in lanes if lane.closed_by and (lane.model, lane.task_type, lane.tenant) == mine), None
    )


def line_of(state: TaskState, dispatchers: Sequence[Dispatcher], configuration: Configuration) -> Within:
    """Whom the task stands in line with: those who wait for what it waits for."""
    closure = closure_of(state, dispatchers)
    if closure is None:
        lanes = (lane for worker in dispatchers for lane in worker.lanes)
        return Within(without={(lane.task_type, lane.tenant, lane.model) for lane in lanes if lane.closed_by})
    match closure.scope:
        case "model" if closure.name == DEFAULT_KEY:
            # The file of the settings, by whatever name it is asked for.
            return Within(type=None if state.submission is None else state.submission.type)
        case "model":
            return Within(models=[closure.name])
        case "provider":
            served = (name for name, model in configuration.models.items() if model.provider == closure.name)
            return Within(models={*served, *([state.model] if state.model else [])})
        case "tenant":
            return Within(tenant=closure.name)
        case "type":
            return Within(type=closure.name)
    return Within()


class Place:
    """Where a task stands in line, and how long that may take."""

    def __init__(self, about: Circumstances, line: Line) -> None:
        submission = about.state.submission
        assert submission is not None, "a task in line was submitted"
        self._about, self._line = about, line
        self._class = submission.resource_class
        self._estimated = submission.estimated_seconds
        self._lanes = [lane for worker in about.dispatchers for lane in worker.lanes]
        self._slots = sum(worker.slots for worker in about.dispatchers)
        self._running = sum(worker.running for worker in about.dispatchers)
        self._choice = about.configuration.strategy_of(self._class)

    def explanation(self) -> Explanation:
        """See `explain`."""
        closure = closure_of(self._about.state, self._about.dispatchers)
        return self._behind(closure) if closure else self._open()

    def _open(self) -> Explanation:
        """Nothing but its turn keeps it."""
        ahead = self._ahead()
        mean = self._mean(self._lanes)
        free = self._slots - self._running
        estimate = 0.0 if free > ahead else None if mean is None else (ahead + 1) * mean / max(self._slots, 1)
        busy = f"whose {counted(self._slots, 'slot')} {'is' if self._slots == 1 else 'are'} busy"
        where = "which has a slot free" if free > 0 else busy
        bound = make_strategy(self._choice, Estimates(), self._about.configuration.weight_of).wait_bound(
            self._line.older
        )
        after = None if bound is None else max(0.0, bound.after_seconds - self._waited_seconds())
        bound_seconds = None
        if bound is not None and after is not None and mean is not None:
            bound_seconds = after + bound.starts * mean / max(self._slots, 1)
        return Explanation(
            sentence=self._sentence(ahead, f"class {self._class}", where, estimate),
            cause=self._cause(ahead),
            position=ahead + 1,
            ahead=ahead,
            line=f"class {self._class}",
            estimate_seconds=estimate,
            bound_after_seconds=after,
            bound_starts=None if bound is None else bound.starts,
            bound_seconds=bound_seconds,
        )

    def _behind(self, closure: Closure) -> Explanation:
        """Its lane is closed by a limit."""
        ahead = self._ahead()
        whose = f"{closure.scope} {closure.name}".strip() or f"class {self._class}"
        lanes = [lane for lane in self._lanes if _belongs(lane, closure)]
        limit = _limit_of(self._about.configuration, closure)
        at_once = limit.concurrency or sum(lane.running for lane in lanes) or self._slots or 1
        left = None if closure.until is None else seconds_to(closure.until, self._about.now)
        estimate = left
        if _forbids(limit, closure.cause):
            where, estimate = "whose limit lets nothing start", None
        else:
            until = "" if closure.until is None else f" until {moment(closure.until, self._about.now)}"
            where = _closed(closure.cause, at_once) + until
            if closure.cause == waits.RATE_LIMIT:
                estimate = _refilled_seconds(limit, ahead, left)
            elif closure.cause == waits.MODEL_LOADING:
                # How long attempts take does not say it.
                estimate = left
            elif (closure.cause == waits.CONCURRENCY or left is None) and (mean := self._mean(lanes)) is not None:
                estimate = max(left or 0.0, (ahead + 1) * mean / at_once)
        return Explanation(
            sentence=self._sentence(ahead, whose, where, estimate),
            cause=closure.cause,
            position=ahead + 1,
            ahead=ahead,
            line=whose,
            estimate_seconds=estimate,
        )

    def _ahead(self) -> int:
        return self._line.ahead(self._choice.name, self._about.configuration.weight_of)

    def _sentence(self, ahead: int, whose: str, where: str, estimate: float | None) -> str:
        soon = "" if estimate is None else f"; about {duration(estimate)}" if estimate else "; it starts now"
        return f"It is {ordinal(ahead + 1)} in line for {whose}, {where}{soon}."

    def _cause(self, ahead: int) -> str:
        if self._running < self._slots:
            return waits.DELIVERY
        if self._choice.name == "fair" and ahead > self._line.ahead_of_tenant:
            return waits.FAIRNESS
        return waits.PRIORITY if ahead > self._line.older else waits.CONCURRENCY

    def _mean(self, lanes: Sequence[LaneStatus]) -> float | None:
        """How long attempts take: those of such lanes, else of all, else as the sender thinks."""
        for some in (lanes, self._lanes):
            known = [(each.mean_seconds, each.waiting + each.running + 1) for each in some if each.mean_seconds]
            if known:
                return sum(mean * weight for mean, weight in known) / sum(weight for _, weight in known)
        return self._estimated

    def _waited_seconds(self) -> float:
        state = self._about.state
        since = state.queued_at or state.submitted_at
        return max(0.0, (self._about.now - since).total_seconds()) if since else 0.0


def _limit_of(configuration: Configuration, closure: Closure) -> Limit:
    limits = configuration.limits
    return limits.get((closure.scope, closure.name)) or limits.get((closure.scope, EACH)) or Limit()


def _forbids(limit: Limit, cause: str) -> bool:
    """Whether the limit is what keeps everything of its from starting, however long it waits."""
    if cause == waits.CONCURRENCY:
        return limit.concurrency == 0
    return cause == waits.RATE_LIMIT and 0 in (limit.requests_per_minute, limit.tokens_per_minute)


def _refilled_seconds(limit: Limit, ahead: int, left_seconds: float | None) -> float | None:
    """Until a rate lets so many and then one more start; None: not known, since nobody knows what tokens those need."""
    if not limit.requests_per_minute:
        return left_seconds
    apart_seconds = 60 / limit.requests_per_minute
    return (apart_seconds if left_seconds is None else left_seconds) + ahead * apart_seconds


def _belongs(lane: LaneStatus, closure: Closure) -> bool:
    name = {"model": lane.model, "provider": lane.provider, "type": lane.task_type, "tenant": lane.tenant}
    return name.get(closure.scope, closure.name) == closure.name


def _closed(cause: str, at_once: int) -> str:
    """What a closed lane's line waits for."""
    match cause:
        case waits.CONCURRENCY:
            return f"whose {counted(at_once, 'slot')} {'is' if at_once == 1 else 'are'} busy"
        case waits.RATE_LIMIT:
            return "which is at its rate limit"
        case waits.MEMORY:
            return "which waits for memory"
        case waits.MODEL_LOADING:
            return "which is being loaded"
        case waits.BACKOFF:
            return "which failed and is left alone"
        case waits.PAUSED:
            return "which is paused"
        case waits.RECOVERY:
            return "which is being recovered"
        case _:
            return f"which is closed by {cause}"
