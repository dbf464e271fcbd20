"""When a role that died is started again: pure rules, which the supervisor follows."""

from collections.abc import Sequence
from dataclasses import dataclass

DELAY_FIRST_SECONDS = 0.25
DELAY_MAX_SECONDS = 5.0
#: A role that dies this often within the window is in a crash loop.
CRASH_LOOP_EXITS = 6
CRASH_LOOP_WINDOW_SECONDS = 60.0
#: It is reported, and tried again at this pace for as long as the system is up: what it lacks may come back.
CRASH_LOOP_DELAY_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """The verdict on a role that has just died."""

    after_seconds: float
    is_crash_loop: bool


def verdict(exits_at: Sequence[float], now: float) -> Restart:
    """When to start a role again that died at these times (monotonic seconds, the last exit included).

    The delay doubles with each exit within the window, so a role that ran well for a while starts anew from the first.
    """
    recent = sum(1 for each in exits_at if now - each < CRASH_LOOP_WINDOW_SECONDS)
    if recent >= CRASH_LOOP_EXITS:
        return Restart(after_seconds=CRASH_LOOP_DELAY_SECONDS, is_crash_loop=True)
    delay = DELAY_FIRST_SECONDS * 2 ** max(0, recent - 1)
    return Restart(after_seconds=min(delay, DELAY_MAX_SECONDS), is_crash_loop=False)


def remembered(exits_at: Sequence[float], now: float) -> list[float]:
    """The exits that still bear on a verdict; the rest may be forgotten."""
    return [each for each in exits_at if now - each < CRASH_LOOP_WINDOW_SECONDS][-CRASH_LOOP_EXITS:]
