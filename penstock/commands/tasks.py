"""Task commands, all by way of the HTTP API of the running system."""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from domain.priority import Priority, priority_of
from penstock.client import TERMINAL, Client, connected
from penstock.commands.options import AsJson, Config, Data, running_system
from penstock.errors import SettingsError

PANEL = "Tasks"
WATCH_INTERVAL_SECONDS = 0.5
SHOWN_ROWS = 20
STATUS_STYLES = {"completed": "green", "running": "cyan", "failed": "red", "rejected": "red", "cancelled": "yellow"}
TaskId = Annotated[str, typer.Argument(help="The task's id.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (submit, tasks, show, watch, retry, history):
        app.command(rich_help_panel=PANEL)(command)


def submit(
    task_type: Annotated[str, typer.Argument(metavar="TYPE", help="The task type, such as convert.")],
    payload: Annotated[str, typer.Option(help="A JSON object; @FILE reads it from a file, - from standard input.")],
    priority: Annotated[str | None, typer.Option(help="low, normal or high; or 1, 2 or 3.")] = None,
    tenant: Annotated[str | None, typer.Option(help="On whose behalf.")] = None,
    model: Annotated[str | None, typer.Option(help="The model to use.")] = None,
    delay: Annotated[str | None, typer.Option(help="Not before so long from now: 90s, 5m, 2h, 3d.")] = None,
    deadline: Annotated[str | None, typer.Option(help="Too late after this: a duration, or RFC 3339.")] = None,
    depends_on: Annotated[list[str] | None, typer.Option(help="A task that must have completed first.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end and print the result.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Submit a task and print its id; with --wait, exit 1 unless it completed."""
    submission: dict[str, object] = {"type": task_type, "payload": read_payload(payload)}
    given = None if priority is None else read_priority(priority)
    options: dict[str, object] = {"priority": given, "tenant": tenant, "model": model, "delay": delay}
    options |= {"deadline": deadline, "depends_on": depends_on or None}
    submission |= {name: value for name, value in options.items() if value is not None}
    with connected(running_system(data, config).api_url) as client:
        accepted = client.submit(submission)
        if not wait:
            typer.echo(accepted["task_id"])
            return
        typer.echo(accepted["task_id"], err=True)
        task = client.task_at_its_end(accepted["task_id"])
    print_json(task["result"] if task["status"] == "completed" else task)
    raise typer.Exit(0 if task["status"] == "completed" else 1)


def read_priority(text: str) -> int:
    """The number of a priority that the user gave as a word or as a number.

    Raises: SettingsError where it is none.
    """
    try:
        return Priority(int(text)) if text.isdecimal() else priority_of(text)
    except (KeyError, ValueError) as error:
        raise SettingsError(
            f"There is no priority {text!r}.", remedy="Give low, normal or high, or 1, 2 or 3 (3 is high)."
        ) from error


def read_payload(text: str) -> object:
    """The JSON that the user gave, in whichever of the three ways.

    Raises: SettingsError where it is none.
    """
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        return json.loads(text)
    except OSError as error:
        raise SettingsError(f"The payload cannot be read: {error}.") from error
    except ValueError as error:
        raise SettingsError(f"The payload is no JSON: {error}.", remedy="Quote it: --payload '{...}'.") from error


def tasks(
    status: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    task_type: Annotated[str | None, typer.Option("--type", help="Only those of this type.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    page: Annotated[int, typer.Option(min=1)] = 1,
    page_size: Annotated[int, typer.Option(min=1, max=100)] = SHOWN_ROWS,
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """List tasks, the newest first."""
    with connected(running_system(data, config).api_url) as client:
        answer = client.tasks(status=status, type=task_type, tenant=tenant, page=page, page_size=page_size)
    if as_json:
        print_json(answer)
    else:
        Console().print(task_table(answer))


def show(task_id: TaskId, data: Data = None, config: Config = None) -> None:
    """Print one task as JSON."""
    with connected(running_system(data, config).api_url) as client:
        print_json(client.task(task_id))


def watch(
    task_id: Annotated[str | None, typer.Argument(help="The task's id; without it, the newest tasks.")] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Follow a task to its end, or all tasks until Ctrl-C."""
    with connected(running_system(data, config).api_url) as client:
        if task_id is None:
            _watch_all(client)
        else:
            _watch_one(client, task_id)


def _watch_one(client: Client, task_id: str) -> None:
    last = None
    while True:
        task = client.task(task_id)
        if task["status"] != last:
            last = task["status"]
            Console().print(Text.assemble(time.strftime("%H:%M:%S  "), _status(last)))
        if last in TERMINAL:
            return
        time.sleep(WATCH_INTERVAL_SECONDS)


def _watch_all(client: Client) -> None:
    from rich.live import Live

    with Live(auto_refresh=False, console=Console()) as live:
        while True:
            live.update(task_table(client.tasks(page_size=SHOWN_ROWS)), refresh=True)
            time.sleep(WATCH_INTERVAL_SECONDS)


def retry(task_id: TaskId, data: Data = None, config: Config = None) -> None:
    """Run a task anew that failed, was cancelled or expired."""
    with connected(running_system(data, config).api_url) as client:
        client.retry(task_id)
    typer.echo(f"{task_id} runs anew")


def history(task_id: TaskId, as_json: AsJson = False, data: Data = None, config: Config = None) -> None:
    """Print everything that happened to a task."""
    with connected(running_system(data, config).api_url) as client:
        answer = client.history(task_id)
    if as_json:
        print_json(answer)
        return
    events = answer["events"]
    table = Table("at", "event", "run", "attempt", "details", box=None)
    told = {"event_id", "task_id", "type", "occurred_at", "run", "attempt"}
    for event in events:
        details = {name: value for name, value in event.items() if name not in told and value not in (None, {}, [])}
        columns = [event.get("occurred_at"), event.get("type"), event.get("run"), event.get("attempt")]
        table.add_row(*(Text("" if each is None else str(each)) for each in columns), Text(json.dumps(details)[:200]))
    Console().print(table)


def task_table(page: Mapping[str, Any]) -> Table:
    """A page of tasks, one a row."""
    table = Table("task", "type", "status", "priority", "attempt", "submitted", box=None)
    for task in page["tasks"]:
        plain = [str(task.get(name) if task.get(name) is not None else "") for name in ("priority", "attempt")]
        table.add_row(
            Text(task["task_id"]),
            Text(task["type"]),
            _status(task["status"]),
            *plain,
            str(task.get("submitted_at", "")),
        )
    table.caption = f"{len(page['tasks'])} of {page['total']}"
    return table


def _status(status: str) -> Text:
    return Text(status, style=STATUS_STYLES.get(status, ""))


def print_json(value: object) -> None:
    """For scripts and for readers alike."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
