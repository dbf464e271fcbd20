"""How much of a core the projector takes. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Duty:
    """A budget of working time that refills at a steady rate: short bursts are free, steady work leaves pauses.

    A batch costs nearly the same for one record as for a hundred. Under load, small pauses make larger batches, so
    that following closely does not take the core from those who are followed.
    """

    #: Working time earned by each second.
    share: float
    #: Most working time that can be saved up, in seconds.
    burst_seconds: float
    _saved_seconds: float = 0.0
    _at: float = 0.0

    def rest_seconds(self, began: float, ended: float) -> float:
        """How long to pause after a batch that was at work between two moments of one clock."""
        earned = (ended - self._at) * self.share
        self._saved_seconds = min(self.burst_seconds, self._saved_seconds + earned) - (ended - began)
        self._at = ended
        return max(0.0, -self._saved_seconds / self.share)
