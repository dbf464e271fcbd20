"""Commands that steer tasks, and say why they wait; by way of the HTTP API of the running system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from domain.priority import Priority
from penstock.client import Client, connected
from penstock.commands.options import AsJson, Config, Data, running_system
from penstock.commands.tasks import PANEL, TaskId, print_json, read_priority
from penstock.errors import SettingsError

BULK_CANCEL = "/api/v1/tasks/cancel"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (why, cancel, priority):
        app.command(rich_help_panel=PANEL)(command)


def why(task_id: TaskId, as_json: AsJson = False, data: Data = None, config: Config = None) -> None:
    """Say in one sentence why a task waits, or waited."""
    with connected(running_system(data, config).api_url) as client:
        answer = client.why(task_id)
    if as_json:
        print_json(answer)
    else:
        typer.echo(answer["sentence"])


def cancel(
    task_id: Annotated[str | None, typer.Argument(help="The task's id; without it, say which tasks.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every task that has not ended.")] = False,
    status: Annotated[str | None, typer.Option(help="Only those in this state; pending: all still to start.")] = None,
    task_type: Annotated[str | None, typer.Option("--type", help="Only those of this type.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    model: Annotated[str | None, typer.Option(help="Only those for this model.")] = None,
    priority: Annotated[str | None, typer.Option(help="Only those of this priority.")] = None,
    older_than: Annotated[str | None, typer.Option(help="Only those submitted so long ago: 90m, 3d.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many there are.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Cancel a waiting or running task, or all that match."""
    given: dict[str, object] = {
        "status": status,
        "type": task_type,
        "tenant": tenant,
        "model": model,
        "older_than": older_than,
    }
    given |= {"priority": None if priority is None else read_priority(priority), "all": every or None}
    wanted = {name: value for name, value in given.items() if value is not None}
    if (task_id is None) == (not wanted):
        raise SettingsError("Cancel what?", remedy="Give a task's id, or options that say which tasks; --all for all.")
    with connected(running_system(data, config).api_url) as client:
        if task_id is not None:
            client.cancel(task_id)
            typer.echo(f"asked for the cancellation of {task_id}")
            return
        if dry_run:
            matched = client.post(BULK_CANCEL, wanted | {"dry_run": True})["matched"]
            typer.echo(f"{matched} tasks would be cancelled")
            return
        typer.echo(f"asked for the cancellation of {_cancel_all(client, wanted)} tasks")


def _cancel_all(client: Client, wanted: Mapping[str, object]) -> int:
    asked, after = 0, ""
    while True:
        answer = client.post(BULK_CANCEL, {**wanted, "after": after})
        asked += int(answer["asked"])
        if answer["next"] is None:
            return asked
        after = answer["next"]


def priority(
    task_id: TaskId,
    level: Annotated[str, typer.Argument(metavar="PRIORITY", help="low, normal or high; or 1, 2 or 3.")],
    data: Data = None,
    config: Config = None,
) -> None:
    """Give a waiting task another priority."""
    number = read_priority(level)
    with connected(running_system(data, config).api_url) as client:
        client.put(f"/api/v1/tasks/{task_id}/priority", {"priority": number})
    typer.echo(f"asked for priority {Priority(number).band} of {task_id}")
