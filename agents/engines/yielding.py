"""How a running attempt hands back its slot: at a checkpoint, with the state from which it goes on later.

Used on both sides: by handlers on the event loop, and in engine processes.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from domain.errors import TaskError

#: Between two checkpoints at which nobody asks for the slot, the state is kept at most so often: writing it out may
#: cost much, and what is lost by a shutdown is no more than that.
KEEP_SECONDS = 1.0


class Yielded(BaseException):
    """The attempt has stopped at a checkpoint because it was asked to.

    Like CancelledError it is no Exception, so that handlers that catch those let it pass.
    """

    def __init__(self, checkpoint: str) -> None:
        #: The state as JSON text.
        self.checkpoint = checkpoint
        super().__init__("handed back at a checkpoint")


class Checkpoints:
    """The checkpoints of one attempt. `kept` is told the JSON text of a state to go on from, now and then."""

    def __init__(self, kept: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._kept, self._clock = kept, clock
        self._kept_at: float | None = None

    def reached(self, state: object, asked: bool) -> None:
        """The attempt can go on from this state.

        Raises:
            Yielded: its slot is asked for.
            TaskError: `invalid_checkpoint`: the state is not JSON.
        """
        now = self._clock()
        if not asked and self._kept_at is not None and now - self._kept_at < KEEP_SECONDS:
            return
        self._kept_at = now
        text = _as_text(state)
        if asked:
            raise Yielded(text)
        self._kept(text)


def _as_text(state: object) -> str:
    try:
        return json.dumps(state, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise TaskError("invalid_checkpoint", f"the handler's checkpoint is not JSON: {error}") from None
