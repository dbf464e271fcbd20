"""Work that waits outside every window: released to its class topic when its time has come and there is room.

Held tasks have no owner, so this service also turns a cancel of one into the fact.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from domain import decide
from domain.task import fold
from schemas.codec import decode
from schemas.commands import CancelTask
from schemas.envelope import headers
from schemas.events import TaskHeld, TaskSubmitted
from streams import topics
from streams.admission import Admission
from streams.log import LogUnavailable
from streams.ports import Appends, HeldTask, IntakeReadModel, ReadModelUnavailable

logger = logging.getLogger(__name__)

POLL_INTERVAL_SECONDS = 0.5
#: Tasks of one class released by one turn.
RELEASES_MAX = 2000
#: Cancels remembered, so that one that came before its task was held still counts.
CANCELS_MAX = 100_000
#: Turns after which a cancel is no longer looked up, only compared on release.
CANCEL_LOOK_UPS_MAX = 120
LOOK_UPS_A_TURN_MAX = 5000

Run = tuple[str, int]


def held(submission: TaskSubmitted, encoded: bytes, reason: str, until: datetime | None, at: datetime) -> TaskHeld:
    """The fact that puts a task aside; the same wait gives the same fact."""
    command = decide.Hold(at=at, reason=reason, until=until, submission=encoded)
    (fact,) = decide.decide(command, fold(submission.task_id, [submission]))
    assert isinstance(fact, TaskHeld), "a task that was only submitted can always be held"
    return fact


class HeldWork:
    """Many may listen, but one of an installation leads: it alone moves tasks.

    While the lead passes on, two may move the same task: an owner recognises such a repeat by its event id.
    """

    def __init__(self, log: Appends, tasks: IntakeReadModel, admission: Admission, classes: Sequence[str]) -> None:
        self._log = log
        self._tasks = tasks
        self._admission = admission
        self._classes = tuple(classes)
        #: Released or cancelled here, and still shown as held: the projector has not caught up. By class.
        self._settled: dict[Run, str | None] = {}
        self._released: Counter[str | None] = Counter()
        self._cancels: OrderedDict[Run, CancelTask] = OrderedDict()
        self._look_ups: dict[Run, int] = {}
        #: Classes in which work waits for room: what comes now queues up behind it.
        self._backlog: set[str] = set()

    def cancel(self, command: CancelTask) -> None:
        """Remember a cancel; it takes effect if its task is held, now or later."""
        run = (command.task_id, command.run)
        if run in self._cancels:
            return
        self._cancels[run] = command
        self._look_ups[run] = 0
        while len(self._cancels) > CANCELS_MAX:
            forgotten, _ = self._cancels.popitem(last=False)
            self._look_ups.pop(forgotten, None)

    def room(self, resource_class: str) -> int:
        """How many new tasks the class takes; none while others were put aside for want of room."""
        return 0 if resource_class in self._backlog else self._room(resource_class)

    def put_aside(self, resource_class: str) -> None:
        """A task of the class was held since its queue is full."""
        self._backlog.add(resource_class)

    def _room(self, resource_class: str) -> int:
        # Tasks that went to their topic and are still shown as held wait in its queue, though it does not count them.
        return self._admission.room(resource_class) - self._released[resource_class]

    async def run(self, stop: asyncio.Event, leads: Callable[[], bool]) -> None:
        """Take turns until told to stop, or watch those of the leader; outages are waited for."""
        while not stop.is_set():
            try:
                await (self.turn if leads() else self.watch)(datetime.now(UTC))
            except (LogUnavailable, ReadModelUnavailable) as error:
                logger.warning("held work waits: %s", error)
            try:
                await asyncio.wait_for(stop.wait(), POLL_INTERVAL_SECONDS)
            except TimeoutError:
                continue

    async def turn(self, at: datetime) -> None:
        """Cancel what is to be cancelled, release what is due and fits.

        Raises:
            LogUnavailable, ReadModelUnavailable: nothing is lost, the next turn does it.
        """
        await self._forget_what_is_gone()
        await self._cancel_held(at)
        self._admission.observe(await self._tasks.queue())
        for resource_class in self._classes:
            await self._release(resource_class, at)

    async def watch(self, at: datetime) -> None:
        """What a turn is while another leads: see whether the work that was put aside here has moved on.

        Raises:
            ReadModelUnavailable: the next one does it.
        """
        await self._forget_what_is_gone()
        for resource_class in list(self._backlog):
            if not await self._tasks.due(resource_class, at, 1):
                self._backlog.discard(resource_class)

    async def _forget_what_is_gone(self) -> None:
        if self._settled:
            shown = {(task.task_id, task.run) for task in await self._tasks.held({run[0] for run in self._settled})}
            self._settled = {run: name for run, name in self._settled.items() if run in shown}
            self._released = Counter(self._settled.values())

    async def _cancel_held(self, at: datetime) -> None:
        asked = list(self._look_ups)[:LOOK_UPS_A_TURN_MAX]
        if not asked:
            return
        found = await self._tasks.held({task_id for task_id, _ in asked})
        await self._cancel([task for task in found if (task.task_id, task.run) in self._cancels], at)
        for run in asked:
            # Asked again for a while: the task may be on its way through intake and projector.
            self._look_ups[run] = self._look_ups.pop(run) + 1
            if self._look_ups[run] >= CANCEL_LOOK_UPS_MAX:
                del self._look_ups[run]

    async def _cancel(self, found: Iterable[HeldTask], at: datetime) -> None:
        tasks = [task for task in found if (task.task_id, task.run) not in self._settled]
        futures = []
        for task in tasks:
            command = self._cancels[task.task_id, task.run]
            hold = held(_submission(task), task.submission, "", task.until or at, at)
            (fact,) = decide.decide(decide.Cancel(at=at, reason=command.reason), fold(task.task_id, [hold]))
            futures.append(await self._log.record(fact))
        await self._log.all_acknowledged(futures)
        for task in tasks:
            self._settled[task.task_id, task.run] = None

    async def _release(self, resource_class: str, at: datetime) -> None:
        room = min(self._room(resource_class), RELEASES_MAX)
        if room <= 0:
            return
        # Those that went before may still be shown as held; they must not hide the ones behind them.
        due = await self._tasks.due(resource_class, at, room + len(self._settled) + 1)
        ready = [task for task in due if (task.task_id, task.run) not in self._settled]
        cancelled = [task for task in ready if (task.task_id, task.run) in self._cancels]
        await self._cancel(cancelled, at)
        going = [task for task in ready if (task.task_id, task.run) not in self._cancels][:room]
        await self._log.all_acknowledged([await self._append(task) for task in going])
        for task in going:
            self._settled[task.task_id, task.run] = resource_class
        self._released[resource_class] += len(going)
        if len(going) + len(cancelled) == len(ready):
            self._backlog.discard(resource_class)
        else:
            self._backlog.add(resource_class)

    async def _append(self, task: HeldTask) -> asyncio.Future[object]:
        """The submission itself, byte for byte: the same event id, so that a repeat is recognised."""
        submission = _submission(task)
        topic = topics.band_of(submission.resource_class, submission.priority)
        envelope = headers(submission, traceparent=submission.traceparent)
        return await self._log.append(topic, task.submission, submission.routing_key.encode(), envelope)


def _submission(task: HeldTask) -> TaskSubmitted:
    submission = decode(task.submission)
    assert isinstance(submission, TaskSubmitted), "a hold carries the submission that it holds"
    return submission
