"""What another strategy would have done, with a load out of the log or out of a file."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from domain.strategies.choice import InvalidChoice, StrategyChoice
from penstock.commands.options import AsJson, Config, Data, running_system
from penstock.commands.scheduler import read_options
from penstock.errors import SettingsError
from penstock.settings import Settings, load

if TYPE_CHECKING:
    from domain.simulation.jobs import Job
    from penstock.what_if_report import Report
    from streams.recorded_load import Period

PANEL = "Steering"
#: Slots of a load from a file, where nothing else is said.
FILE_SLOTS = 2
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=PANEL)(simulate)


def simulate(
    file: Annotated[
        Path | None, typer.Argument(metavar="[LOAD]", help="A load as JSON Lines.", exists=True, show_default=False)
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(help="The strategy to try; by default the recorded one.", show_default=False)
    ] = None,
    from_log: Annotated[bool, typer.Option("--from-log", help="Take the load out of the log.")] = False,
    resource_class: Annotated[str, typer.Option("--class", help="Of the log: the resource class.")] = "llm",
    since: Annotated[
        str | None, typer.Option(help="Of the log: from this moment on, ISO 8601, or 90m, 2h, 1d ago.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Of the log: up to this moment.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="An option of the strategy, NAME=VALUE; may be repeated.")
    ] = None,
    slots: Annotated[
        int | None, typer.Option(min=1, help="Slots of each worker; by default as many as were used.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Write the load here, as JSON Lines.")] = None,
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Say how long tasks would have waited under another strategy, beside how long they did.

    For a load out of the log, the recorded decisions are replayed first: that shows whether the strategy that it names
    explains them. Exit 1 where it does not.
    """
    if from_log == (file is not None):
        raise SettingsError("A simulation needs one load.", remedy="Give a file of JSON Lines, or --from-log.")
    given = None if strategy is None else _choice(strategy, option or [])
    settings = load(config, data_dir=data)
    if file is not None:
        report = _of_file(file, given or settings.classes["cpu"].strategy_choice, slots or FILE_SLOTS, save)
    else:
        if settings.kafka_bootstrap_servers is None:
            address = running_system(data, config).bootstrap_servers
            settings = load(config, data_dir=data, kafka_bootstrap_servers=address)
        period = _period(since, until, datetime.now(UTC))
        report = asyncio.run(_of_log(settings, resource_class, period, given, slots, save))
    report.show(as_json)
    raise typer.Exit(0 if report.explained else 1)


def _of_file(file: Path, choice: StrategyChoice, slots: int, save: Path | None) -> Report:
    from domain.simulation.load_files import read_load
    from domain.simulation.what_if import model_file, rows, simulated_waits
    from penstock.what_if_report import Report, maker

    with file.open(encoding="utf-8") as lines:
        jobs = read_load(lines)
    _save(save, jobs)
    names = dict.fromkeys(["fifo", choice.name])
    found = [
        simulated_waits(model_file(jobs, maker({choice.name: choice}, lambda tenant: 1.0), name, slots, {}))
        for name in names
    ]
    return Report(list(names), rows(found), None, [f"{len(jobs)} tasks on {slots} slots."])


async def _of_log(
    settings: Settings,
    resource_class: str,
    period: Period,
    given: StrategyChoice | None,
    slots: int | None,
    save: Path | None,
) -> Report:
    from aiokafka.errors import KafkaError

    from domain.simulation.replaying import as_jobs
    from penstock.what_if_report import compare
    from streams.recorded_load import read_configuration, read_visits

    if resource_class not in settings.classes:
        raise SettingsError(
            f"There is no class {resource_class!r}.", remedy=f"Give one of {', '.join(settings.classes)} with --class."
        )
    servers = settings.kafka_bootstrap_servers or ""
    cost_of, preemptible = _knowledge(settings)
    try:
        recorded = await read_configuration(servers, resource_class, settings.first_configuration)
        visits = await read_visits(servers, resource_class, period, cost_of, preemptible)
    except (KafkaError, OSError) as error:
        raise SettingsError(
            f"The log at {servers} cannot be read: {error}.", remedy="`penstock doctor` says more."
        ) from error
    _save(save, as_jobs(visits))
    return compare(visits, recorded.configuration, recorded.choices, given, slots)


def _knowledge(settings: Settings) -> tuple[Callable[[Any], float], Callable[[str], bool]]:
    """What the handlers say of their types; of a type without one, nothing is known."""
    from domain.errors import UnknownTaskType
    from domain.tokens import task_cost
    from penstock.roles import registry

    catalogue = registry(settings).catalogue()

    def cost_of(submission: Any) -> float:
        try:
            return task_cost(catalogue[submission.type], submission.payload)
        except UnknownTaskType:
            return 1.0

    def preemptible(task_type: str) -> bool:
        try:
            return catalogue[task_type].preemptible
        except UnknownTaskType:
            return False

    return cost_of, preemptible


def _choice(name: str, options: Iterable[str]) -> StrategyChoice:
    choice = StrategyChoice(name, read_options(options))
    try:
        choice.validated()
    except InvalidChoice as error:
        raise SettingsError(f"This strategy cannot be simulated: {error}.") from error
    return choice


def _period(since: str | None, until: str | None, now: datetime) -> Period:
    from streams.recorded_load import Period

    return Period(
        None if since is None else read_moment(since, now),
        None if until is None else read_moment(until, now),
    )


def read_moment(text: str, now: datetime) -> datetime:
    """A moment as the user gave it: ISO 8601, UTC where it names no zone, or how long ago.

    Raises: SettingsError where it is none.
    """
    if ago := re.fullmatch(r"(\d+)([smhd])", text):
        return now - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingsError(
            f"{text!r} is no moment.", remedy="Give ISO 8601, such as 2026-11-21T09:30:00Z, or 90m, 2h or 1d ago."
        ) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _save(path: Path | None, jobs: Iterable[Job]) -> None:
    from domain.simulation.load_files import written_load

    if path is not None:
        path.write_text("".join(f"{line}\n" for line in written_load(jobs)), encoding="utf-8")
