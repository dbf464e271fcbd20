"""Commands on workflows: tasks that depend on one another."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from penstock.client import WAIT_SECONDS_MAX, Client, Document, connected
from penstock.commands.options import AsJson, Config, Data, running_system
from penstock.commands.tasks import STATUS_STYLES, print_json
from penstock.errors import SettingsError

PANEL = "Tasks"
PATH = "/api/v1/workflows"
ENDS = frozenset({"completed", "failed", "cancelled"})

WorkflowId = Annotated[str, typer.Argument(help="The workflow's id.")]

workflow = typer.Typer(help="Workflows: tasks that depend on one another.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(workflow, name="workflow", rich_help_panel=PANEL)


@workflow.command("submit")
def submit_workflow(
    file: Annotated[str, typer.Argument(help="YAML or JSON: `steps` by name; - reads standard input.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end and print all steps.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Submit a workflow and print its id; with --wait, exit 1 unless every step completed."""
    document = read_document(file)
    with connected(running_system(data, config).api_url) as client:
        found = client.post(PATH, document)
        typer.echo(found["workflow_id"], err=wait)
        if not wait:
            return
        found = _at_its_end(client, found["workflow_id"])
    Console().print(_table(found))
    raise typer.Exit(0 if found["status"] == "completed" else 1)


@workflow.command("show")
def show_workflow(workflow_id: WorkflowId, as_json: AsJson = False, data: Data = None, config: Config = None) -> None:
    """Show the state of each step."""
    with connected(running_system(data, config).api_url) as client:
        found = client.get(f"{PATH}/{workflow_id}")
    if as_json:
        print_json(found)
    else:
        Console().print(_table(found))


@workflow.command("cancel")
def cancel_workflow(workflow_id: WorkflowId, data: Data = None, config: Config = None) -> None:
    """Cancel every step that has not ended."""
    with connected(running_system(data, config).api_url) as client:
        found = client.delete(f"{PATH}/{workflow_id}")
    ended = found["status"] in ENDS
    typer.echo(f"{workflow_id} has ended: {found['status']}" if ended else f"asked for the end of {workflow_id}")


def read_document(file: str) -> Mapping[str, Any]:
    """The mapping that a YAML or JSON file holds.

    Raises: SettingsError where it holds none.
    """
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        # JSON is YAML too; dates stay texts, as the API takes them.
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - it is a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{file} cannot be read: {error}.") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{file} holds no mapping.", remedy="Write `steps:`, and each step by its name below it.")
    return document


class _Loader(yaml.SafeLoader):
    """YAML without dates of its own."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _at_its_end(client: Client, workflow_id: str) -> Document:
    while True:
        found = client.get(f"{PATH}/{workflow_id}?wait={WAIT_SECONDS_MAX:g}", WAIT_SECONDS_MAX)
        if found["status"] in ENDS:
            return found


def _table(found: Document) -> Table:
    table = Table("step", "task", "type", "status", "depends on", "error", box=None)
    for name, step in found["steps"].items():
        error = step["error"]
        table.add_row(
            Text(name),
            Text(step["task_id"]),
            Text(step["type"] or ""),
            Text(step["status"], style=STATUS_STYLES.get(step["status"], "")),
            Text(", ".join(step["depends_on"])),
            Text(f"{error['code']}: {error['detail']}" if error else ""),
        )
    table.caption = f"{found['workflow_id']}: {found['status']}"
    return table
