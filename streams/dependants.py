"""Finds what ends of tasks mean for those that wait for them, and for the workflows that they are steps of."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from domain.dependencies import Dependency, GiveUp, Go, Stop, Wait, not_found, stopped, verdict
from domain.workflow import FAIL_FAST
from schemas.commands import CancelTask
from streams.missing import Missing
from streams.ports import Dependant, IntakeReadModel
from streams.watermark import Watermark
from streams.wishes import Run

#: How long an id that others wait for may be unknown, unless the settings say otherwise.
GRACE_SECONDS = 300.0
#: Tasks looked at by one turn, besides those that wait for an end that was heard of.
PAGE = 2000
#: Ends heard of and not yet looked into; what is beyond is found by going through the pages.
HEARD_MAX = 10_000
#: Cancels that were sent and are not sent again.
SENT_MAX = 100_000


@dataclass(slots=True)
class Found:
    """What one look brought."""

    #: They may start, as soon as there is room.
    ready: list[Dependant] = field(default_factory=list)
    #: They end without having run.
    ending: dict[Run, GiveUp | Stop] = field(default_factory=dict)


class Dependants:
    """Goes through all that wait, page after page, and looks at once into what it hears of."""

    def __init__(
        self, tasks: IntakeReadModel, grace_seconds: float = GRACE_SECONDS, watermark: Watermark | None = None
    ) -> None:
        """`grace_seconds`: how long an id may be unknown, see `Missing`."""
        self._tasks = tasks
        self._grace_seconds = grace_seconds
        self._missing = Missing(grace_seconds, watermark)
        self._heard: set[str] = set()
        #: Where the next pages begin.
        self._waiting_after = self._steps_after = ""
        self._sent: OrderedDict[Run, None] = OrderedDict()

    def heard(self, ended: Iterable[str]) -> None:
        """Tasks have ended."""
        self._heard.update(ended)
        if len(self._heard) > HEARD_MAX:
            self._heard.clear()

    async def look(self, at: datetime, settled: Collection[Run]) -> Found:
        """What has become of some of those that wait, `settled` ones aside.

        Raises:
            LogUnavailable, ReadModelUnavailable: the next look finds it.
        """
        await self._missing.look()
        waiting = await self._waiting(settled)
        others = {task_id for each in waiting for task_id in each.depends_on}
        dependencies = await self._tasks.dependencies(others) if others else {}
        found = Found()
        ready: list[Dependant] = []
        for each in waiting:
            match verdict(each, dependencies):
                case Go():
                    ready.append(each)
                case Wait():
                    self._doubt(each, [other for other in each.depends_on if other not in dependencies], found, at)
                case GiveUp() | Stop() as end:
                    found.ending[each.task_id, each.run] = end
        failed = await self._failed({each.workflow_id for each in ready if _stops_with_others(each)})
        for each in ready:
            failure = failed.get(each.workflow_id or "") if _stops_with_others(each) else None
            if failure is not None:
                found.ending[each.task_id, each.run] = Stop(stopped(each.workflow_id or "", failure))
            elif each.until is None or each.until <= at:
                found.ready.append(each)
        return found

    async def stops(self, at: datetime) -> Sequence[CancelTask]:
        """Cancels of steps whose workflow a failed step has stopped; each is given once.

        Steps that wait for others get none: what they wait for decides.
        """
        page = await self._tasks.unfinished_steps(self._steps_after, PAGE)
        self._steps_after = page[-1].task_id if len(page) == PAGE else ""
        failed = await self._failed({each.workflow_id for each in page})
        return [
            CancelTask(task_id=task_id, run=run, requested_at=at, reason=stopped(workflow_id, failed[workflow_id]))
            for task_id, run, workflow_id in page
            if workflow_id in failed and (task_id, run) not in self._sent
        ]

    def sent(self, commands: Iterable[CancelTask]) -> None:
        """The log has them."""
        for command in commands:
            self._sent[command.task_id, command.run] = None
        while len(self._sent) > SENT_MAX:
            self._sent.popitem(last=False)

    def _doubt(self, task: Dependant, unknown: Sequence[str], found: Found, at: datetime) -> None:
        run = (task.task_id, task.run)
        if not unknown:
            self._missing.found(run)
        elif self._missing.given_up(run, at):
            found.ending[run] = not_found(unknown, self._grace_seconds)

    async def _waiting(self, settled: Collection[Run]) -> list[Dependant]:
        page = await self._tasks.waiting(self._waiting_after, PAGE)
        self._waiting_after = page[-1].task_id if len(page) == PAGE else ""
        found = {(each.task_id, each.run): each for each in page}
        if self._heard:
            heard, self._heard = self._heard, set()
            hanging = await self._tasks.waiting_for(heard, PAGE)
            found |= {(each.task_id, each.run): each for each in hanging}
        return [each for run, each in found.items() if run not in settled]

    async def _failed(self, workflow_ids: Collection[str | None]) -> Mapping[str, Dependency]:
        asked = {each for each in workflow_ids if each is not None}
        return await self._tasks.failed_steps(asked) if asked else {}


def _stops_with_others(task: Dependant) -> bool:
    """Whether another step of its workflow may stop it; not once somebody has run it again by hand."""
    return task.on_dependency_failure == FAIL_FAST and task.run == 1
