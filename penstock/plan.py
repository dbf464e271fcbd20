"""Which processes make up a system, what each waits for, and in which order they start and stop: pure."""

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.settings import Settings

#: Stopping takes the API, then what works, then the services: within ten seconds together.
API_STOP_SECONDS = 2.5
WORKER_STOP_SECONDS = 4.5
SERVICE_STOP_SECONDS = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RolePlan:
    """One process of the system."""

    name: str
    command: tuple[str, ...]
    #: Must be ready whenever this one is started.
    needs: tuple[str, ...] = ()
    #: Start with this one, and are stopped only when it has stopped.
    outlived_by: tuple[str, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    #: How long it may take to stop before it is killed.
    stop_seconds: float = WORKER_STOP_SECONDS
    #: Runs once and ends; what needs it waits for its end.
    is_step: bool = False


def role_command(*arguments: str) -> tuple[str, ...]:
    """The command line of a role, run by this very interpreter whatever the PATH says."""
    return (sys.executable, "-m", "penstock", *arguments)


def plan_roles(settings: Settings) -> list[RolePlan]:
    """Every process that `penstock up` runs: an embedded service only where no outer one is named."""
    services = []
    if settings.kafka_bootstrap_servers is None:
        services.append(RolePlan(name="kafka", command=role_command("kafka"), stop_seconds=SERVICE_STOP_SECONDS))
    if settings.database_url is None:
        # PostgreSQL's fast stop; SIGTERM would wait until the last client has gone.
        services.append(
            RolePlan(
                name="postgres",
                command=role_command("postgres"),
                stop_signal=signal.SIGINT,
                stop_seconds=SERVICE_STOP_SECONDS,
            )
        )
    prepare = RolePlan(
        name="prepare", command=role_command("prepare"), needs=tuple(each.name for each in services), is_step=True
    )
    # The services themselves too: a role that is started again waits until they are back.
    needs = (*prepare.needs, prepare.name)
    commands: dict[str, tuple[str, ...]] = {"projector": ("projector",), "intake": ("intake",)}
    commands |= {f"agents-{name}": ("agents", name) for name in settings.started_classes}
    workers = [
        RolePlan(name=name, command=role_command(*arguments), needs=needs, stop_seconds=WORKER_STOP_SECONDS)
        for name, arguments in commands.items()
    ]
    # It says by itself when the system works, and starts with the others since all of them take their time.
    api = RolePlan(
        name="api",
        command=role_command("api"),
        needs=needs,
        outlived_by=tuple(each.name for each in workers),
        stop_seconds=API_STOP_SECONDS,
    )
    return [*services, prepare, *workers, api]


def layers(plans: Sequence[RolePlan]) -> list[list[RolePlan]]:
    """Roles grouped so that what a role needs, or is outlived by, is in earlier groups; stopping goes backwards.

    Raises: ValueError where roles need one another in a circle, or one that is not planned.
    """
    grouped: list[list[RolePlan]] = []
    placed: set[str] = set()
    waiting = list(plans)
    while waiting:
        layer = [plan for plan in waiting if placed.issuperset(plan.needs + plan.outlived_by)]
        if not layer:
            raise ValueError(f"roles that can never start: {', '.join(plan.name for plan in waiting)}")
        grouped.append(layer)
        placed.update(plan.name for plan in layer)
        waiting = [plan for plan in waiting if plan.name not in placed]
    return grouped
