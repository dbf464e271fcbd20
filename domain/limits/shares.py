"""Fair shares of a limit among those who hold permits of it, or want some. Pure; who asks passes the time in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """One holder, as the table knows it."""

    holder: str
    #: Permits that it has; it may have as many attempts running.
    granted: int
    #: Permits that it could use.
    wanted: int
    #: When it last received a permit of the remainder, in seconds; the table's clock.
    served_at: float = 0.0


def share_of(holder: str, limit: int, claimants: Sequence[Claimant], now: float, turn_seconds: float) -> Share:
    """What the holder may have of the limit, so that each who wants some has as much as the others.

    What others hold above their share, since it runs, is not there to be shared. Where the limit does not divide, the
    permits left over go to those who have waited longest for one, each for a turn of `turn_seconds`. So a share that
    is 0 does not stay so: whoever waits comes before all who have had their turn since.
    """
    stuck: dict[str, int] = {}
    while True:
        sharing = [each for each in claimants if each.holder not in stuck]
        left = max(0, limit - sum(stuck.values()))
        fair, extras = _divide(left, sharing, now, turn_seconds)
        found = {
            each.holder: each.granted for each in sharing if each.holder != holder and each.granted > fair[each.holder]
        }
        if not found:
            return Share(permits=fair[holder], slack=max(0, left - sum(fair.values())), from_remainder=holder in extras)
        stuck |= found


@dataclass(frozen=True, slots=True)
class Share:
    """What one holder may have."""

    permits: int
    #: Permits that nobody wants: whoever holds them may keep them.
    slack: int
    #: One of the permits is its turn at the remainder.
    from_remainder: bool


def _divide(
    limit: int, claimants: Sequence[Claimant], now: float, turn_seconds: float
) -> tuple[dict[str, int], set[str]]:
    """Permits by holder, none above what it wants; and who has one of those that could not be divided."""
    fair = {each.holder: 0 for each in claimants}
    unsatisfied = [each for each in claimants if each.wanted > 0]
    left = limit
    while unsatisfied and left >= len(unsatisfied):
        level = left // len(unsatisfied)
        for each in unsatisfied:
            given = min(level, each.wanted - fair[each.holder])
            fair[each.holder] += given
            left -= given
        unsatisfied = [each for each in unsatisfied if each.wanted > fair[each.holder]]

    def turn(each: Claimant) -> tuple[bool, float, str]:
        # Whoever is in its turn keeps it; then whoever was served longest ago. A clock set back ends no turn early.
        return (now - each.served_at >= turn_seconds, each.served_at, each.holder)

    extras = {each.holder for each in sorted(unsatisfied, key=turn)[:left]}
    for name in extras:
        fair[name] += 1
    return fair, extras
