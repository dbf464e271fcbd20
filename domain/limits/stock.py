"""What one process has of a token bucket: a block that it took and spends. Pure."""

from __future__ import annotations

from domain.limits.exchange import RateAnswer, RateAsk

#: Floats add up with errors of this size.
_TINY = 1e-6


class Stock:
    """Units of one bucket. They are spent here at once, and asked for and given back by exchanges with the table."""

    __slots__ = ("_credited", "_spent", "held", "ready_at")

    def __init__(self) -> None:
        self.held = 0.0
        #: When to ask again; None where nothing is lacking.
        self.ready_at: float | None = None
        self._credited = 0.0
        #: Spent since the table was last asked.
        self._spent = 0.0

    def lacks(self, amount: float) -> bool:
        """There is less than that."""
        return self.held < amount - _TINY

    def spend(self, amount: float) -> None:
        """It is used, or reserved for an attempt that begins."""
        self.held -= amount
        self._spent += amount

    def settle(self, reserved: float, used: float) -> None:
        """What was reserved and not used is for everybody again; what was used beyond it is owed."""
        self._credited += reserved - used

    def give_back(self) -> None:
        """Nobody here wants any of it."""
        self._credited += max(0.0, self.held)
        self.held = min(0.0, self.held)

    def ask(self, wanted: float) -> RateAsk:
        """What to tell the table now."""
        self._spent = 0.0
        return RateAsk(kept=max(0.0, self.held), wanted=wanted, credited=self._credited)

    def answered(self, answer: RateAnswer, now: float) -> None:
        """The table has heard it."""
        self.held = answer.held - self._spent
        self.ready_at = None if answer.ready_in_seconds is None else now + answer.ready_in_seconds

    def lost(self) -> None:
        """The lease ran out: the table takes the block as spent."""
        self.held = 0.0
        self.ready_at = None
