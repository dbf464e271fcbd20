"""The memory of one worker: what its attempts and the models that it has loaded take, and who has what is left. Pure.

Needs are what task types and models declare, in MB; nothing is measured. A loaded model takes its memory until it is
unloaded, whether or not anybody asks it.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a start needs."""

    #: While its attempt runs.
    attempt_mb: int = 0
    #: The local model that must be loaded for it; "" where there is none.
    model: str = ""
    #: While that is loaded.
    model_mb: int = 0

    @property
    def total_mb(self) -> int:
        """Of a worker in which nothing else is."""
        return self.attempt_mb + self.model_mb


class Memory:
    """`total_mb` is what all may have together; None: as much as they like.

    Whoever was refused first has what comes free next: until something does, others get only what fits beside that, so
    that many small needs do not keep a large one waiting for ever.
    """

    def __init__(self, total_mb: int | None) -> None:
        self.total_mb = total_mb
        self._attempts: dict[str, Need] = {}
        #: Of loaded models; the one that was used last comes last.
        self._models: dict[str, int] = {}
        #: Who was refused first, and how much that one lacks.
        self._first: tuple[Hashable, int] | None = None

    @property
    def used_mb(self) -> int:
        """What attempts and models take."""
        return sum(need.attempt_mb for need in self._attempts.values()) + sum(self._models.values())

    def possible(self, need: Need) -> bool:
        """Whether an empty worker would have room."""
        return self.total_mb is None or need.total_mb <= self.total_mb

    def fits(self, who: Hashable, need: Need) -> bool:
        """Whether there is room now. Who is refused comes first as soon as there is more."""
        if self.total_mb is None:
            return True
        missing = self._missing_mb(need)
        if missing == 0:
            return True
        free = self.total_mb - self.used_mb
        if missing <= free and (self._first is None or self._first[0] == who or missing <= free - self._first[1]):
            return True
        if self._first is None:
            self._first = who, missing
        return False

    def idle(self, need: Need) -> list[str]:
        """Loaded models to unload so that there would be room: those that nobody uses, the longest unused one first.

        Empty where even all of them would not do.
        """
        if self.total_mb is None:
            return []
        busy = {each.model for each in self._attempts.values()} | {need.model}
        lacking = self.used_mb + self._missing_mb(need) - self.total_mb
        found: list[str] = []
        for model, mb in self._models.items():
            if lacking <= 0:
                break
            if mb > 0 and model not in busy:
                found.append(model)
                lacking -= mb
        return found if lacking <= 0 else []

    def begin(self, task_id: str, need: Need) -> None:
        """An attempt of the task begins."""
        self._attempts[task_id] = need
        if need.model:
            self.load(need.model, need.model_mb)

    def end(self, task_id: str) -> bool:
        """It is over; whether that may have made room."""
        need = self._attempts.pop(task_id, None)
        if need is None or not (need.attempt_mb or need.model_mb):
            return False
        self._first = None
        return True

    def load(self, model: str, mb: int) -> None:
        """The model takes its memory from now on; or goes on to, and was used just now."""
        self._models[model] = self._models.pop(model, mb)

    def unload(self, model: str) -> None:
        """Its memory is free."""
        if self._models.pop(model, None) is not None:
            self._first = None

    @property
    def models(self) -> tuple[str, ...]:
        """Those that take memory, the longest unused one first."""
        return tuple(self._models)

    def _missing_mb(self, need: Need) -> int:
        return need.attempt_mb + (0 if need.model in self._models else need.model_mb)
