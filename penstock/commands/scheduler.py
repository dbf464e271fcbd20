"""Commands that steer how tasks start: strategies, pauses, limits, weights."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from penstock.client import connected
from penstock.commands.options import AsJson, Config, Data, running_system
from penstock.commands.tasks import print_json
from penstock.errors import SettingsError

PANEL = "Steering"
PATH = "/api/v1/scheduler"
LIMITS = "/api/v1/limits"
DRAIN_INTERVAL_SECONDS = 1.0
#: Every class, where a command takes one.
ALL = "all"

PauseScope = Annotated[Literal["class", "model", "tenant"], typer.Argument(help="What NAME is the name of.")]
LimitScope = Annotated[
    Literal["class", "model", "provider", "type", "tenant", "node"], typer.Argument(help="What NAME is the name of.")
]
Name = Annotated[str, typer.Argument()]
Reason = Annotated[str, typer.Option(help="For whoever wonders later.")]

limits = typer.Typer(help="Limits on what goes on at once, and in a minute.", invoke_without_command=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (strategy, pause, drain, resume, weight):
        app.command(rich_help_panel=PANEL)(command)
    app.add_typer(limits, name="limits", rich_help_panel=PANEL)


def strategy(
    resource_class: Annotated[
        str | None, typer.Argument(metavar="[CLASS]", help="The class, or `all`; without it, show what holds.")
    ] = None,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The strategy to use from now on.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, such as ageing_seconds=30.")] = None,
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Show in which order waiting tasks start, or change it while they wait."""
    options = read_options(option or ())
    with connected(running_system(data, config).api_url) as client:
        answer = client.get(f"{PATH}/strategy")
        classes = [each["class"] for each in answer["classes"] if resource_class in (None, ALL, each["class"])]
        if not classes:
            raise SettingsError(f"There is no class {resource_class}.", remedy="`penstock strategy` lists them.")
        if name is not None:
            for each in classes:
                client.put(f"{PATH}/strategy", {"class": each, "strategy": name, "options": options})
            answer = client.get(f"{PATH}/strategy")
    shown = [each for each in answer["classes"] if each["class"] in classes]
    if as_json:
        print_json(shown)
        return
    table = Table("class", "strategy", "options", "what it does", box=None)
    for each in shown:
        given = " ".join(f"{option}={value}" for option, value in each["options"].items())
        table.add_row(*map(Text, (each["class"], each["strategy"], given, answer["available"][each["strategy"]])))
    Console().print(table)


def read_options(texts: Iterable[str]) -> dict[str, Any]:
    """Options as `name=value`; a value that is JSON is what it says, anything else a text.

    Raises: SettingsError where one is neither.
    """
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise SettingsError(f"{text!r} is no option.", remedy="Write --option NAME=VALUE.")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


def pause(
    scope: PauseScope, name: Name, reason: Reason = "requested", data: Data = None, config: Config = None
) -> None:
    """Let no task of a class, model or tenant start; what runs goes on."""
    with connected(running_system(data, config).api_url) as client:
        client.post(f"{PATH}/pause", {"scope": scope, "name": name, "reason": reason})
    typer.echo(f"{scope} {name} is paused")


def resume(
    scope: PauseScope, name: Name, reason: Reason = "requested", data: Data = None, config: Config = None
) -> None:
    """Let its tasks start again."""
    with connected(running_system(data, config).api_url) as client:
        client.post(f"{PATH}/resume", {"scope": scope, "name": name, "reason": reason})
    typer.echo(f"{scope} {name} goes on")


def drain(
    scope: PauseScope,
    name: Name,
    reason: Reason = "requested",
    timeout: Annotated[float, typer.Option(help="Wait no longer than so many seconds.", min=0)] = 3600.0,
    data: Data = None,
    config: Config = None,
) -> None:
    """Pause it, and wait until nothing of it runs; exit 1 when that takes too long."""
    with connected(running_system(data, config).api_url) as client:
        client.post(f"{PATH}/drain", {"scope": scope, "name": name, "reason": reason})
        deadline = time.monotonic() + timeout
        while (left := running(client.get(PATH), scope, name)) and time.monotonic() < deadline:
            time.sleep(DRAIN_INTERVAL_SECONDS)
    typer.echo(f"{left} tasks of {scope} {name} still run" if left else f"{scope} {name} is drained")
    raise typer.Exit(1 if left else 0)


def running(overview: Mapping[str, Any], scope: str, name: str) -> int:
    """How many tasks of what was paused run, as the workers said last."""
    found = (each["running"] for each in overview["pauses"] if (each["scope"], each["name"]) == (scope, name))
    return int(next(found, 0))


def weight(
    tenant: Annotated[str, typer.Argument(help="The tenant.")],
    share: Annotated[
        float | None, typer.Argument(metavar="[WEIGHT]", help="Beside 1, everybody's unless said.")
    ] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Show or change a tenant's share, where the strategy is fair."""
    path = f"/api/v1/tenants/{quote(tenant, safe='')}/weight"
    with connected(running_system(data, config).api_url) as client:
        answer = client.get(path) if share is None else client.put(path, {"weight": share})
    typer.echo(f"{answer['tenant']}: {answer['weight']:g}")


@limits.callback()
def list_limits(context: typer.Context, as_json: AsJson = False, data: Data = None, config: Config = None) -> None:
    """List every limit that holds."""
    if context.invoked_subcommand is not None:
        return
    with connected(running_system(data, config).api_url) as client:
        found = client.get(LIMITS)["limits"]
    if as_json:
        print_json(found)
        return
    columns = ("scope", "name", "concurrency", "requests_per_minute", "tokens_per_minute")
    table = Table(*(column.replace("_", " ") for column in columns), box=None)
    for each in found:
        table.add_row(*(Text("" if each[column] is None else f"{each[column]}") for column in columns))
    Console().print(table)


@limits.command("set")
def set_limit(
    scope: LimitScope,
    name: Annotated[str, typer.Argument(help="`*`: each one of the scope that has none of its own.")],
    concurrency: Annotated[int | None, typer.Option(min=0, help="Attempts at a time.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=0, help="Attempts begun in a minute.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(min=0, help="Prompt and answer together.")] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Set a limit; what is left out is not limited."""
    given = {
        "concurrency": concurrency,
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
    }
    with connected(running_system(data, config).api_url) as client:
        client.put(_limit(scope, name), {what: value for what, value in given.items() if value is not None})
    typer.echo(f"{scope} {name} is limited")


@limits.command("lift")
def lift_limit(scope: LimitScope, name: Name, data: Data = None, config: Config = None) -> None:
    """Lift a limit that was set."""
    with connected(running_system(data, config).api_url) as client:
        client.delete(_limit(scope, name))
    typer.echo(f"the limit of {scope} {name} is lifted")


def _limit(scope: str, name: str) -> str:
    return f"{LIMITS}/{scope}/{quote(name, safe='')}"
