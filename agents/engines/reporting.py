"""How a function in an engine process says how far it is."""

from __future__ import annotations

from collections.abc import Callable

Reporter = Callable[[dict[str, object]], None]

_reporter: Reporter | None = None


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
