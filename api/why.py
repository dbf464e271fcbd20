"""Why a task waits or waited: the route that gathers what `domain.explain` speaks of."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import queries
from api.configuring import Configuring
from api.control_views import WhyView
from api.lookup import Lookup
from api.ports import ReadModel
from api.routing import resource
from api.views import json_response
from domain.dispatch_status import Dispatcher, lengths
from domain.explain import explain
from domain.explanation import Circumstances
from domain.line import Line
from domain.place import line_of
from domain.states import TaskStatus
from projections.history import HistoryEntry
from projections.line import IN_LINE
from schemas.events import TaskStarted


class WhyRoutes:
    """Handlers of `/api/v1/tasks/{task_id}/why`."""

    def __init__(self, read_model: ReadModel, lookup: Lookup, configuring: Configuring) -> None:
        self._read_model = read_model
        self._lookup = lookup
        self._configuring = configuring

    def routes(self) -> list[Route]:
        """The path; see `api.openapi_control` for its description."""
        return [resource("/api/v1/tasks/{task_id}/why", GET=self.why)]

    async def why(self, request: Request) -> Response:
        """One sentence, and the figures that it is made of."""
        task_id = queries.task_id(request)
        row = await self._lookup.get(task_id)
        state, submission = row.state, row.state.submission
        configuration = await self._configuring.present()
        strategy = configuration.strategy_of(submission.resource_class).name if submission else None
        line: Line | None = None
        dispatchers: Sequence[Dispatcher] = ()
        if state.status in IN_LINE and submission is not None and strategy is not None:
            dispatchers = await self._read_model.dispatchers([submission.resource_class])
            within = line_of(state, dispatchers, configuration)
            line = await self._read_model.line(task_id, strategy, lengths(dispatchers), within)
        waited: Counter[str] = Counter()
        if state.attempt:
            waited, strategy = _waited(await self._read_model.history(task_id), state.run, strategy)
        found = explain(
            Circumstances(
                state=state,
                now=datetime.now(UTC),
                configuration=configuration,
                hold_reason=row.hold_reason,
                line=line,
                dispatchers=dispatchers,
                waited_ms=waited,
            )
        )
        answer = WhyView(
            task_id=task_id,
            status=str(state.status or TaskStatus.SUBMITTED),
            sentence=found.sentence,
            cause=found.cause,
            position=found.position,
            ahead=found.ahead,
            line=found.line,
            estimate_seconds=found.estimate_seconds,
            bound_after_seconds=found.bound_after_seconds,
            bound_starts=found.bound_starts,
            bound_seconds=found.bound_seconds,
            waited_ms=dict(found.waited_ms),
            waited_total_ms=sum(found.waited_ms.values()),
            strategy=strategy,
        )
        return json_response(answer)


def _waited(history: Iterable[HistoryEntry], run: int, strategy: str | None) -> tuple[Counter[str], str | None]:
    """What the attempts of a run waited for, added up, and the strategy that chose the last of them."""
    waited: Counter[str] = Counter()
    for entry in history:
        if entry.type == TaskStarted.TYPE and entry.run == run and entry.accepted:
            details = json.loads(entry.data)
            waited.update(details.get("waited_ms") or {})
            strategy = details.get("strategy") or strategy
    return waited, strategy
