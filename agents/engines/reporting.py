"""How a function in an engine process says how far it is, and hears that its slot is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable

from agents.engines.yielding import Checkpoints

Reporter = Callable[[dict[str, object]], None]

_reporter: Reporter | None = None
#: Number of the call that runs, and of the latest one that was asked to yield.
_call = _asked_call = 0
_checkpoints: Checkpoints | None = None


def begin_call(number: int) -> None:
    """A call runs from now on; the engine process says so."""
    global _call, _checkpoints
    _call, _checkpoints = number, Checkpoints(_keep, time.monotonic)


def ask_to_yield(number: int) -> None:
    """The call is to stop at its next checkpoint; any thread may say so, also when it is over."""
    global _asked_call
    _asked_call = max(_asked_call, number)


def checkpoint(state: object) -> None:
    """The running call can go on from this state. Outside an engine process it does nothing.

    Raises:
        Yielded: the call's slot is asked for.
        TaskError: `invalid_checkpoint`: the state is not JSON.
    """
    if _reporter is not None and _checkpoints is not None:
        _checkpoints.reached(state, _asked_call >= _call)


def use(usage: dict[str, float]) -> None:
    """Tell what the running call has used so far, by name."""
    if _reporter is not None:
        _reporter({"usage": usage})


def _keep(text: str) -> None:
    if _reporter is not None:
        _reporter({"checkpoint": text})


def set_reporter(reporter: Reporter | None) -> None:
    """Where reports of this process go; the engine process sets it once at its start."""
    global _reporter
    _reporter = reporter


def report(*, percent: float | None = None, message: str | None = None, delta: str | None = None) -> None:
    """Tell the task's watchers how far the work is; percent is 0 to 100. Outside an engine process it does nothing.

    It is a heartbeat too: a long function calls it at least every few seconds, without arguments if need be.
    """
    if _reporter is not None:
        fields = {"percent": percent, "message": message, "delta": delta}
        _reporter({name: value for name, value in fields.items() if value is not None})
