"""What was asked of tasks that may be held: cancels and other priorities, remembered until they can be met. No I/O.

Commands come from the log and may be older than the hold that they are about, so each is looked up for a while, and
compared again when its task is released.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from schemas.commands import CancelTask, ChangePriority, TaskCommand

#: Runs of tasks whose wishes are remembered.
WISHES_MAX = 100_000
#: Look-ups after which a wish is only compared on release.
LOOK_UPS_MAX = 120
LOOK_UPS_A_TURN_MAX = 5000

Run = tuple[str, int]


@dataclass(slots=True)
class Wish:
    """What was asked for one run of a task."""

    cancel: CancelTask | None = None
    #: The latest one: what was asked before it no longer counts.
    priority: ChangePriority | None = None


class Wishes:
    """The latest wishes, bounded; the oldest are forgotten first."""

    def __init__(self) -> None:
        self._wishes: OrderedDict[Run, Wish] = OrderedDict()
        self._look_ups: dict[Run, int] = {}

    def add(self, command: TaskCommand) -> None:
        """Remember a command; repeating it changes nothing."""
        run = (command.task_id, command.run)
        wish = self._wishes.setdefault(run, Wish())
        if isinstance(command, CancelTask):
            if wish.cancel is not None:
                return
            wish.cancel = command
        else:
            wish.priority = command
        self._look_ups[run] = 0
        while len(self._wishes) > WISHES_MAX:
            forgotten, _ = self._wishes.popitem(last=False)
            self._look_ups.pop(forgotten, None)

    def of(self, run: Run) -> Wish:
        """What was asked for a run; an empty wish where nothing was."""
        return self._wishes.get(run) or Wish()

    def to_look_up(self) -> Sequence[Run]:
        """Runs whose tasks may be held by now."""
        return list(self._look_ups)[:LOOK_UPS_A_TURN_MAX]

    def looked_up(self, runs: Iterable[Run]) -> None:
        """They are asked for again for a while: a task may be on its way through intake and projector."""
        for run in runs:
            self._look_ups[run] = self._look_ups.pop(run, 0) + 1
            if self._look_ups[run] >= LOOK_UPS_MAX:
                del self._look_ups[run]
