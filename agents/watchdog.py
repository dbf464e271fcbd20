"""Judges by facts whether a worker still works; a stuck one exits, and its supervisor starts another."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Vitals:
    """What can be known from within."""

    #: Whether the broker answers at all; a worker waits for one that does not.
    broker_reachable: bool
    #: Seconds since the group last counted this process as a member; 0 while it does.
    outside_group_seconds: float
    #: Seconds since the log last acknowledged a fact, while facts wait; 0 while none does.
    unacknowledged_seconds: float
    #: Seconds since a record came, while records lie ahead and no band is full; 0 otherwise.
    starved_seconds: float
    #: Where records were passed over that are in the log, for people.
    passed_over: str | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each sign of trouble is put up with."""

    outside_group_seconds: float = 120.0
    unacknowledged_seconds: float = 90.0
    starved_seconds: float = 120.0


def verdict(vitals: Vitals, patience: Patience) -> str | None:
    """Why the worker should exit; None while it should go on."""
    if not vitals.broker_reachable:
        return None
    if vitals.passed_over is not None:
        # Nothing behind them is acknowledged.
        return f"records were passed over, and come again to the next worker: {vitals.passed_over}"
    if vitals.outside_group_seconds > patience.outside_group_seconds:
        return f"outside its group for {vitals.outside_group_seconds:.0f} s while the broker answers"
    if vitals.unacknowledged_seconds > patience.unacknowledged_seconds:
        return f"no fact acknowledged for {vitals.unacknowledged_seconds:.0f} s while the broker answers"
    if vitals.starved_seconds > patience.starved_seconds:
        return f"records lie ahead and none came for {vitals.starved_seconds:.0f} s"
    return None
