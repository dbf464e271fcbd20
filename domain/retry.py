"""How long to wait before another attempt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with full jitter.

    Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    delay_seconds: float = 60.0
    delay_seconds_max: float = 3600.0
    #: The longest wait that another side's Retry-After may ask for.
    retry_after_seconds_max: float = 24 * 3600.0
    #: For how long the refusals of providers cost a run nothing, from the first one on; later ones count as failures.
    put_off_seconds_max: float = 24 * 3600.0
    #: The wait after a refusal that names none; doubles with each further one, up to the longest.
    refusal_seconds: float = 1.0
    refusal_seconds_max: float = 60.0

    def ceiling_seconds(self, failures: int) -> float:
        """The longest wait after so many failures, counted from 1."""
        doublings = min(failures - 1, 62)
        return float(min(self.delay_seconds * 2**doublings, self.delay_seconds_max))

    def backoff_seconds(self, failures: int, jitter: float, asked_seconds: float = 0.0) -> float:
        """The wait after so many failures; `jitter` in [0, 1] spreads it from nothing to the ceiling.

        `asked_seconds` is what the other side asked for (Retry-After). It knows best: that is the wait, up to
        `retry_after_seconds_max`. What keeps all who were told the same from coming at once are limits.
        """
        if asked_seconds > 0:
            return min(asked_seconds, self.retry_after_seconds_max)
        return jitter * self.ceiling_seconds(failures)

    def put_off_seconds(self, refusals: int, asked_seconds: float = 0.0) -> float:
        """The wait after so many refusals, counted from 1: what the other side asked for, up to `put_off_seconds_max`.

        Whoever is refused again is not back in less than `refusal_seconds`: a wait that costs nothing must not be none.
        """
        if asked_seconds > 0:
            least = self.refusal_seconds if refusals > 1 else 0.0
            return min(max(asked_seconds, least), self.put_off_seconds_max)
        return float(min(self.refusal_seconds * 2 ** min(refusals - 1, 62), self.refusal_seconds_max))
