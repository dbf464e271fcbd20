"""What a worker remembers of tasks that it does not hold. Pure."""

from __future__ import annotations

from collections import OrderedDict

#: Tasks that are remembered at a time; the oldest are forgotten first.
REMEMBERED_MAX = 100_000


class Remembered:
    """The newest run of each of the latest tasks: finished ones, or those whose cancel came before they did."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, int] = OrderedDict()

    def add(self, task_id: str, run: int) -> None:
        """Remember a run of a task, unless a newer one is known."""
        self._runs[task_id] = max(run, self._runs.pop(task_id, 0))
        if len(self._runs) > REMEMBERED_MAX:
            self._runs.popitem(last=False)

    def run(self, task_id: str) -> int:
        """The newest run known of a task; 0 for one that is not remembered."""
        return self._runs.get(task_id, 0)
