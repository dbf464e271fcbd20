"""Which processes make up a system, what each waits for, and in which order they start and stop: pure."""

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.settings import Settings

#: The embedded services, which start first and stop last.
SERVICES = ("kafka", "postgres")


@dataclass(frozen=True, slots=True, kw_only=True)
class RolePlan:
    """One process of the system."""

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    #: Runs once and ends; what needs it waits for its end.
    is_step: bool = False


def role_command(*arguments: str) -> tuple[str, ...]:
    """The command line of a role, run by this very interpreter whatever the PATH says."""
    return (sys.executable, "-m", "penstock", *arguments)


def plan_roles(settings: Settings) -> list[RolePlan]:
    """Every process that `penstock up` runs: an embedded service only where no outer one is named."""
    services = []
    if settings.kafka_bootstrap_servers is None:
        services.append(RolePlan(name="kafka", command=role_command("kafka")))
    if settings.database_url is None:
        # PostgreSQL's fast stop; SIGTERM would wait until the last client has gone.
        services.append(RolePlan(name="postgres", command=role_command("postgres"), stop_signal=signal.SIGINT))
    prepare = RolePlan(
        name="prepare", command=role_command("prepare"), needs=tuple(each.name for each in services), is_step=True
    )
    workers = [
        RolePlan(name="projector", command=role_command("projector"), needs=("prepare",)),
        RolePlan(name="intake", command=role_command("intake"), needs=("prepare",)),
        *(
            RolePlan(name=f"agents-{name}", command=role_command("agents", name), needs=("prepare",))
            for name in settings.started_classes
        ),
    ]
    # Last, so that a system that answers is a system that works.
    api = RolePlan(name="api", command=role_command("api"), needs=tuple(each.name for each in workers))
    return [*services, prepare, *workers, api]


def start_waves(plans: Sequence[RolePlan]) -> list[list[RolePlan]]:
    """Roles grouped so that each one's needs are in earlier groups; stopping takes the groups backwards.

    Raises: ValueError where roles need one another in a circle, or one that is not planned.
    """
    waves: list[list[RolePlan]] = []
    placed: set[str] = set()
    waiting = list(plans)
    while waiting:
        wave = [plan for plan in waiting if placed.issuperset(plan.needs)]
        if not wave:
            raise ValueError(f"roles that can never start: {', '.join(plan.name for plan in waiting)}")
        waves.append(wave)
        placed.update(plan.name for plan in wave)
        waiting = [plan for plan in waiting if plan.name not in placed]
    return waves
