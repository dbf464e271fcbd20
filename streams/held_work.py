"""Work that waits outside every window: released to its class topic when its wait is over and there is room.

Held tasks have no owner, so this service also turns what is asked of them, and what becomes of them, into facts. Such a
fact has the epoch of the hold: it comes behind what the owner wrote that held the task, and before its next owner's.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from domain import decide, holds
from domain.configuration import Configuration
from domain.decide import OwnerCommand
from domain.dependencies import GiveUp, Stop, sources, with_results
from domain.task import TaskState, evolve, fold
from schemas.codec import encode
from schemas.commands import TaskCommand
from schemas.envelope import headers
from schemas.events import TaskHeld, TaskSubmitted
from streams import topics
from streams.admission import Admission
from streams.dependants import Dependants
from streams.ports import Appends, HeldTask, IntakeReadModel
from streams.state_header import STATE_HEADER, state_header
from streams.wishes import Run, Wishes

#: Tasks of one class released by one turn.
RELEASES_MAX = 2000
#: Tasks whose payloads are put together from results by one turn; both may be large.
PUT_TOGETHER_MAX = 200
#: Tasks that may start and wait for room; others are found again.
READY_MAX = 10_000
EXPIRED_A_TURN_MAX = 1000


def held(submission: TaskSubmitted, encoded: bytes, reason: str, until: datetime | None, at: datetime) -> TaskHeld:
    """The fact that puts a task aside which nobody owns yet; the same wait gives the same fact."""
    command = decide.Hold(at=at, reason=reason, until=until, submission=encoded)
    (fact,) = decide.decide(command, fold(submission.task_id, [submission]))
    assert isinstance(fact, TaskHeld), "a task that was only submitted can always be held"
    return fact


class HeldWork:
    """Many may listen, but one of an installation leads: it alone moves tasks.

    While the lead passes on, two may move the same task: an owner recognises such a repeat.
    """

    def __init__(
        self,
        log: Appends,
        tasks: IntakeReadModel,
        admission: Admission,
        classes: Sequence[str],
        dependants: Dependants | None = None,
    ) -> None:
        self._log = log
        self._tasks = tasks
        self._admission = admission
        self._classes = tuple(classes)
        self._dependants = dependants or Dependants(tasks)
        self._wishes = Wishes()
        #: Unknown until the registry has been read: then nothing that was paused goes on.
        self._configuration: Configuration | None = None
        #: Released or ended here, and still shown as held: the projector has not caught up. Class, and the version that
        #: each was held in.
        self._settled: dict[Run, tuple[str | None, tuple[int, int, int]]] = {}
        self._released: Counter[str | None] = Counter()
        #: Where facts written here have led, until the projector shows it.
        self._states: dict[Run, TaskState] = {}
        #: What others have ended for, by class, and waits for room.
        self._ready: OrderedDict[Run, str] = OrderedDict()
        #: Classes in which work waits for room: what comes now queues up behind it.
        self._backlog: set[str] = set()

    def ask(self, command: TaskCommand) -> None:
        """Remember a command; it takes effect if its task is held, now or later."""
        self._wishes.add(command)

    def configure(self, configuration: Configuration) -> None:
        """What is paused or offline from now on."""
        self._configuration = configuration

    def ended(self, task_ids: Iterable[str]) -> None:
        """Tasks have ended: what waits for them is looked at in the next turn."""
        self._dependants.heard(task_ids)

    def room(self, resource_class: str) -> int:
        """How many new tasks the class takes; none while others were put aside for want of room."""
        return 0 if resource_class in self._backlog else self._room(resource_class)

    def put_aside(self, resource_class: str) -> None:
        """A task of the class was held since its queue is full."""
        self._backlog.add(resource_class)

    def _room(self, resource_class: str) -> int:
        # Tasks that went to their topic and are still shown as held wait in its queue, though it does not count them.
        return self._admission.room(resource_class) - self._released[resource_class]

    async def turn(self, at: datetime) -> None:
        """Do what was asked, end what is to be ended, release what is due and fits.

        Raises:
            LogUnavailable, ReadModelUnavailable: nothing is lost, the next turn does it.
        """
        await self._forget_what_is_gone()
        await self._obey(at)
        reasons = await self._tasks.hold_reasons()
        if reasons:
            await self._move(reasons, at)
        else:
            # Nothing waits, so nothing waits for room: a turn beside work that flows is two look-ups.
            self._ready.clear()
            self._backlog.clear()
        await self._stop_workflows(at)

    async def _move(self, reasons: Collection[str], at: datetime) -> None:
        """End and release what is held for these reasons, as far as they are over."""
        await self._end(await self._tasks.expired(at, EXPIRED_A_TURN_MAX), self._expiry, at)
        if holds.DEPENDENCIES in reasons:
            await self._look_at_dependants(at)
        self._admission.observe(await self._tasks.queue())
        open_reasons = self._open(reasons)
        for resource_class in self._classes:
            await self._release(resource_class, open_reasons, at)

    async def watch(self, at: datetime) -> None:
        """What a turn is while another leads: see whether the work that was put aside here has moved on.

        Raises:
            ReadModelUnavailable: the next one does it.
        """
        await self._forget_what_is_gone()
        self._ready.clear()
        for resource_class in list(self._backlog):
            if not await self._tasks.due(resource_class, at, 1):
                self._backlog.discard(resource_class)

    async def _forget_what_is_gone(self) -> None:
        asked = {run[0] for run in (*self._settled, *self._states)}
        if not asked:
            return
        shown = {(task.task_id, task.run): task for task in await self._tasks.held(asked)}
        # One that is held by a newer fact was held again since, perhaps before anybody saw it go.
        self._settled = {
            run: (name, version)
            for run, (name, version) in self._settled.items()
            if run in shown and shown[run].state.version <= version
        }
        self._released = Counter(name for name, _ in self._settled.values())
        self._states = {
            run: state
            for run, state in self._states.items()
            if run in shown and shown[run].state.version < state.version
        }

    def _open(self, reasons: Iterable[str]) -> list[str]:
        """Those of the reasons that hold nobody any longer, though no moment was named for their end."""
        if self._configuration is None:
            return []
        return [reason for reason in reasons if _over(reason, self._configuration)]

    async def _obey(self, at: datetime) -> None:
        asked = self._wishes.to_look_up()
        if asked:
            await self._end(await self._tasks.held({task_id for task_id, _ in asked}), self._wish, at)
            self._wishes.looked_up(asked)

    def _wish(self, task: HeldTask, at: datetime) -> OwnerCommand | None:
        wish = self._wishes.of((task.task_id, task.run))
        if wish.cancel is not None:
            return decide.Cancel(at=at, reason=wish.cancel.reason)
        if wish.priority is not None:
            return decide.ChangePriority(at=at, priority=wish.priority.priority, reason=wish.priority.reason)
        return None

    def _expiry(self, task: HeldTask, at: datetime) -> OwnerCommand:
        return decide.Expire(at=at, reason=f"its deadline passed while it was held ({task.reason})")

    async def _look_at_dependants(self, at: datetime) -> None:
        found = await self._dependants.look(at, self._settled.keys())
        for each in found.ready:
            if len(self._ready) < READY_MAX:
                self._ready[each.task_id, each.run] = each.resource_class
        if found.ending:
            ending = found.ending

            def end(task: HeldTask, at: datetime) -> OwnerCommand | None:
                match ending.get((task.task_id, task.run)):
                    case GiveUp(code=code, detail=detail):
                        return decide.Fail(at=at, code=code, detail=detail, retryable=False)
                    case Stop(reason=reason):
                        return decide.Cancel(at=at, reason=reason)
                return None

            await self._end(await self._tasks.held({task_id for task_id, _ in ending}), end, at)

    async def _stop_workflows(self, at: datetime) -> None:
        stops = await self._dependants.stops(at)
        await self._log.all_acknowledged([await self._log.send(each, topics.COMMANDS, each.task_id) for each in stops])
        self._dependants.sent(stops)

    async def _end(self, tasks: Iterable[HeldTask], command_for: CommandFor, at: datetime) -> None:
        """Turn what is to become of held tasks into facts; those that are no longer ours are left alone."""
        futures = []
        after: dict[Run, TaskState] = {}
        for task in tasks:
            run = (task.task_id, task.run)
            command = command_for(task, at) if self._movable(task) else None
            if command is None:
                continue
            state = self._state(task)
            for fact in decide.decide(replace(command, epoch=state.epoch), state):
                futures.append(await self._log.record(fact, traceparent=task.submitted.traceparent))
                after[run] = state = evolve(state, fact)
        await self._log.all_acknowledged(futures)
        for run, state in after.items():
            self._states[run] = state
            if state.terminal:
                self._settle(run, None, state)

    def _movable(self, task: HeldTask) -> bool:
        return not task.released and (task.task_id, task.run) not in self._settled

    def _settle(self, run: Run, resource_class: str | None, state: TaskState) -> None:
        self._settled[run] = (resource_class, state.version)
        self._released[resource_class] += 1
        self._ready.pop(run, None)

    def _state(self, task: HeldTask) -> TaskState:
        """The task as the facts written here have left it."""
        known = self._states.get((task.task_id, task.run))
        return known if known is not None and known.version > task.state.version else task.state

    async def _release(self, resource_class: str, open_reasons: Sequence[str], at: datetime) -> None:
        room = min(self._room(resource_class), RELEASES_MAX)
        if room <= 0:
            return
        # Those that went before may still be shown as held; they must not hide the ones behind them.
        limit = room + len(self._settled) + 1
        found = [*await self._tasks.due(resource_class, at, limit)]
        if open_reasons:
            found += await self._tasks.held_for(open_reasons, resource_class, limit)
        await self._end(found, self._wish, at)
        waiting = [task for task in found if self._movable(task)]
        await self._go([(task, task.submitted) for task in waiting[:room]], resource_class)
        left = await self._release_ready(resource_class, max(0, room - len(waiting)), at)
        if left or len(waiting) > room:
            self._backlog.add(resource_class)
        else:
            self._backlog.discard(resource_class)

    async def _release_ready(self, resource_class: str, room: int, at: datetime) -> int:
        """Release tasks that waited for others, with what they take from the results; how many are left."""
        runs = [run for run, name in self._ready.items() if name == resource_class]
        asked = {task_id for task_id, _ in runs[: min(room, PUT_TOGETHER_MAX)]}
        found = await self._tasks.held(asked) if asked else ()
        for run in runs:
            if run[0] in asked:
                # What is no longer held is gone; what was not released now is found again.
                del self._ready[run]
        await self._end(found, self._wish, at)
        going: list[tuple[HeldTask, TaskSubmitted]] = []
        failing: dict[str, OwnerCommand] = {}
        for task in found:
            if task.reason != holds.DEPENDENCIES or not self._movable(task):
                continue
            wanted = sources(task.submitted)
            released = with_results(task.submitted, await self._tasks.results(wanted) if wanted else {})
            if isinstance(released, GiveUp):
                failing[task.task_id] = decide.Fail(at=at, code=released.code, detail=released.detail, retryable=False)
            else:
                going.append((task, released))
        await self._end(found, lambda task, _: failing.get(task.task_id), at)
        await self._go(going, resource_class)
        return len(runs) - len(asked)

    async def _go(self, going: Sequence[tuple[HeldTask, TaskSubmitted]], resource_class: str) -> None:
        await self._log.all_acknowledged([await self._append(task, submission) for task, submission in going])
        for task, _ in going:
            self._settle((task.task_id, task.run), resource_class, self._state(task))

    async def _append(self, task: HeldTask, submission: TaskSubmitted) -> asyncio.Future[Any]:
        """The submission itself, byte for byte where nothing was put into it: a repeat is then recognised by its id."""
        state = self._state(task)
        envelope = headers(submission, traceparent=submission.traceparent)
        if state.epoch or state.sequence > 1:
            # More has happened than that it was put aside: its next owner must know of attempts and changes.
            envelope.append((STATE_HEADER, state_header(state)))
        topic = topics.band_of(submission.resource_class, state.priority or submission.priority)
        value = task.submission if submission is task.submitted else encode(submission)
        return await self._log.append(topic, value, (state.routing_key or submission.routing_key).encode(), envelope)


#: What is to become of a held task; None: nothing.
CommandFor = Callable[[HeldTask, datetime], OwnerCommand | None]


def _over(reason: str, configuration: Configuration) -> bool:
    if (what := holds.paused_what(reason)) is not None:
        return what not in configuration.pauses
    if (model := holds.offline_model(reason)) is not None:
        return configuration.online(model)
    return False
