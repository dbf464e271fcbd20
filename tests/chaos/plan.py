"""What is broken, and when: drawn from a seed, so that the same seed breaks the same things again. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class Deed(StrEnum):
    """What is done to a role."""

    #: SIGKILL; its supervisor starts another.
    KILL = "kill"
    #: SIGTERM; it may hand back what it has, and another comes.
    STOP = "stop"
    #: SIGSTOP, and SIGCONT after a while.
    FREEZE = "freeze"
    #: One more worker, which leaves in an orderly way after a while.
    JOIN = "join"
    #: Not a blow at all: an operator selects another strategy while tasks wait.
    SWITCH = "switch"
    #: An operator pauses all of the run's tasks, and resumes them after a while.
    PAUSE = "pause"


#: The resource class of all tasks of a run.
CLASS = "chaos"
#: Of a task that can be interrupted.
STEPS = 5
WORKER = "worker"
STRATEGIES = ("fifo", "priority", "round_robin", "shortest_job_first", "preemptive", "fair", "deadline")
TENANT = "tenant"

#: What may happen to whom, how often in comparison, and for how long (seconds; nothing for deeds of a moment).
#: A worker is frozen for less than its session, or for longer: the second kind wakes up as a zombie.
CHOICES: tuple[tuple[float, Deed, str, tuple[float, float] | None], ...] = (
    (5, Deed.KILL, WORKER, None),
    (3, Deed.STOP, WORKER, None),
    (3, Deed.JOIN, WORKER, (6.0, 20.0)),
    (2, Deed.FREEZE, WORKER, (0.5, 6.0)),
    (3, Deed.FREEZE, WORKER, (12.0, 18.0)),
    (2, Deed.SWITCH, "strategy", None),
    (1, Deed.PAUSE, TENANT, (2.0, 8.0)),
    (2, Deed.KILL, "intake", None),
    (1, Deed.STOP, "intake", None),
    (1, Deed.FREEZE, "intake", (1.0, 15.0)),
    (2, Deed.KILL, "projector", None),
    (1, Deed.FREEZE, "projector", (1.0, 15.0)),
    (1, Deed.KILL, "api", None),
    (1, Deed.FREEZE, "api", (1.0, 5.0)),
    (1, Deed.KILL, "postgres", None),
    (1, Deed.STOP, "postgres", None),
    (2, Deed.FREEZE, "postgres", (1.0, 10.0)),
    (1, Deed.KILL, "kafka", None),
    (1, Deed.STOP, "kafka", None),
    (1, Deed.FREEZE, "kafka", (1.0, 8.0)),
)

#: Every run has these, whatever else its seed chooses: what the promises are about.
ALWAYS = (
    (Deed.FREEZE, WORKER, (12.0, 18.0)),
    (Deed.KILL, WORKER, None),
    (Deed.KILL, "kafka", None),
    (Deed.FREEZE, "postgres", (1.0, 10.0)),
    (Deed.JOIN, WORKER, (6.0, 20.0)),
    (Deed.STOP, WORKER, None),
    (Deed.SWITCH, "strategy", None),
    (Deed.KILL, "projector", None),
    (Deed.KILL, "intake", None),
)
#: A broker needs seconds to come back, and nothing moves meanwhile: it is struck once in so many seconds at most.
BROKER_REST_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Blow:
    """One thing that goes wrong."""

    #: Since the first task was submitted.
    at_seconds: float
    deed: Deed
    role: str
    #: How long it lasts; 0 for a deed of a moment.
    seconds: float = 0.0
    #: Which of the workers is hit, or which strategy is selected, counted round those that there are.
    which: int = 0

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.at_seconds:6.1f} s  {self.deed} {self.role}{lasting}"


def make_plan(seed: int, seconds: float, pace_seconds: float) -> list[Blow]:
    """Blows over so many seconds, one in `pace_seconds` on average; the last may last beyond them."""
    chance = random.Random(seed)
    count = max(1, round(seconds / pace_seconds))
    moments = sorted(chance.uniform(0.0, seconds) for _ in range(count))
    always = list(ALWAYS[: len(moments)])
    chance.shuffle(always)
    certain = dict(zip(sorted(chance.sample(range(count), len(always))), always, strict=True))
    blows: list[Blow] = []
    broker_at = -BROKER_REST_SECONDS
    for number, at in enumerate(moments):
        deed, role, lasting = certain[number] if number in certain else _draw(chance)
        if role == "kafka":
            if at - broker_at < BROKER_REST_SECONDS and number not in certain:
                deed, role, lasting = Deed.KILL, WORKER, None
            else:
                broker_at = at
        duration = chance.uniform(*lasting) if lasting else 0.0
        blows.append(Blow(at, deed, role, duration, chance.randrange(60)))
    return blows


def _draw(chance: random.Random) -> tuple[Deed, str, tuple[float, float] | None]:
    _, deed, role, lasting = chance.choices(CHOICES, [weight for weight, *_ in CHOICES])[0]
    return deed, role, lasting
