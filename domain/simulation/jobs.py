"""A load: tasks with their moments of arrival and what they will take, as it was recorded or made up.

Times are whole microseconds since 1970, so that a recorded moment stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass

from domain.strategies.strategy import Waiting

MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Stay:
    """One time that a task occupies a slot."""

    #: How long it occupies the slot, if nobody asks for it.
    service_us: int
    #: Wait before it, by the task's own doing (a back-off): from the end of the stay before.
    delay_us: int = 0
    #: Tokens that it uses; None where its class counts none.
    tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One task of a load."""

    #: As the strategy sees it when it arrives.
    task: Waiting
    #: When it comes to the window of its owner.
    arrives_us: int
    #: One for each attempt; all but the last one fail.
    stays: tuple[Stay, ...]
    #: Whether it gives its slot back when asked, and goes on later from where it was.
    preemptible: bool = False

    @property
    def service_us(self) -> int:
        """How long it occupies slots, all attempts together."""
        return sum(stay.service_us for stay in self.stays)

    @property
    def own_us(self) -> int:
        """How long it would take with all slots to itself."""
        return self.service_us + sum(stay.delay_us for stay in self.stays)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job."""

    job: Job
    #: None for one that expired before it could start.
    started_us: int | None
    #: None for one that expired.
    ended_us: int | None
    #: How often it got a slot.
    starts: int

    @property
    def waited_us(self) -> int | None:
        """From its arrival to its first start."""
        return None if self.started_us is None else self.started_us - self.job.arrives_us

    @property
    def slowdown(self) -> float | None:
        """How many times as long it was in the system as it would have been alone."""
        if self.ended_us is None:
            return None
        return (self.ended_us - self.job.arrives_us) / max(self.job.own_us, 1)
