"""Commands on schedules: tasks that are submitted again and again."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from penstock.client import Document, connected
from penstock.commands.options import AsJson, Config, Data, running_system
from penstock.commands.tasks import print_json, read_payload, read_priority

PANEL = "Tasks"
PATH = "/api/v1/schedules"

schedule = typer.Typer(help="Schedules: tasks submitted at the times of a cron expression.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(schedule, name="schedule", rich_help_panel=PANEL)


@schedule.command("add")
def add_schedule(
    cron: Annotated[str, typer.Argument(help="Five fields: minute, hour, day of month, month, day of week.")],
    task_type: Annotated[str, typer.Argument(metavar="TYPE", help="The task type, such as convert.")],
    payload: Annotated[str, typer.Option(help="A JSON object; @FILE reads it from a file, - from standard input.")],
    schedule_id: Annotated[str | None, typer.Option("--id", help="What to call it.")] = None,
    time_zone: Annotated[str, typer.Option(help="The zone that the times are meant in.")] = "UTC",
    catch_up: Annotated[
        Literal["none", "last", "all"], typer.Option(help="What becomes of times that nobody was there for.")
    ] = "last",
    priority: Annotated[str | None, typer.Option(help="low, normal or high; or 1, 2 or 3.")] = None,
    tenant: Annotated[str | None, typer.Option(help="On whose behalf.")] = None,
    model: Annotated[str | None, typer.Option(help="The model to use.")] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Make a schedule and print its id."""
    given = None if priority is None else read_priority(priority)
    options = {"priority": given, "tenant": tenant, "model": model}
    submission: dict[str, object] = {"type": task_type, "payload": read_payload(payload)}
    submission |= {name: value for name, value in options.items() if value is not None}
    document = {"cron": cron, "time_zone": time_zone, "catch_up": catch_up, "submission": submission}
    if schedule_id is not None:
        document["id"] = schedule_id
    with connected(running_system(data, config).api_url) as client:
        typer.echo(client.post(PATH, document)["schedule_id"])


@schedule.command("list")
def list_schedules(as_json: AsJson = False, data: Data = None, config: Config = None) -> None:
    """List all schedules, and when each comes next."""
    with connected(running_system(data, config).api_url) as client:
        found = client.get(PATH)["schedules"]
    if as_json:
        print_json(found)
    else:
        Console().print(_table(found))


@schedule.command("remove")
def remove_schedule(
    schedule_id: Annotated[str, typer.Argument(help="The schedule's id.")], data: Data = None, config: Config = None
) -> None:
    """Remove a schedule; tasks that it has submitted stay."""
    with connected(running_system(data, config).api_url) as client:
        client.delete(f"{PATH}/{schedule_id}")
    typer.echo(f"{schedule_id} is removed")


def _table(found: list[Document]) -> Table:
    table = Table("schedule", "cron", "time zone", "type", "catch up", "next", box=None)
    for each in found:
        columns = (each["cron"], each["time_zone"], each["submission"]["type"], each["catch_up"], each["next_at"])
        table.add_row(Text(each["schedule_id"]), *(Text(str(column or "never")) for column in columns))
    return table
