"""Commands on the models that tasks may name."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from penstock.client import connected
from penstock.commands.options import AsJson, Config, Data, running_system
from penstock.commands.tasks import print_json

PANEL = "Steering"
PATH = "/api/v1/models"

Model = Annotated[str, typer.Argument(help="The model's name, or its number.")]
Reason = Annotated[str, typer.Option(help="For whoever wonders later.")]

models = typer.Typer(help="Models: what there is, and whether it is online.", invoke_without_command=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(models, name="models", rich_help_panel=PANEL)


@models.callback()
def list_models(context: typer.Context, as_json: AsJson = False, data: Data = None, config: Config = None) -> None:
    """List all models."""
    if context.invoked_subcommand is not None:
        return
    with connected(running_system(data, config).api_url) as client:
        found = client.get(PATH)["models"]
    if as_json:
        print_json(found)
        return
    columns = ("id", "name", "type", "status", "max_workers", "provider")
    table = Table(*(column.replace("_", " ") for column in columns), box=None)
    for each in found:
        table.add_row(*(Text("" if each[column] is None else f"{each[column]}") for column in columns))
    Console().print(table)


@models.command("add")
def add_model(
    name: Annotated[str, typer.Argument(help="What tasks call it.")],
    kind: Annotated[Literal["openai", "local", "custom"], typer.Option("--type", help="Who serves it.")],
    base_url: Annotated[str | None, typer.Option(help="The endpoint.")] = None,
    api_key: Annotated[str | None, typer.Option(help="env:NAME, the variable that holds the key.")] = None,
    model: Annotated[str | None, typer.Option(help="What the endpoint calls it.")] = None,
    model_path: Annotated[str | None, typer.Option(help="A GGUF file that workers serve.")] = None,
    max_workers: Annotated[int | None, typer.Option(min=1, help="Attempts that use it at a time.")] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Make a model known."""
    given = {"base_url": base_url, "api_key": api_key, "model": model, "model_path": model_path}
    where = {what: value for what, value in given.items() if value is not None}
    body = {"name": name, "type": kind, "config": where, "max_workers": max_workers}
    with connected(running_system(data, config).api_url) as client:
        answer = client.post(PATH, {what: value for what, value in body.items() if value is not None})
    typer.echo(f"model {answer['name']} is number {answer['id']}")


@models.command("online")
def online(model: Model, reason: Reason = "requested", data: Data = None, config: Config = None) -> None:
    """Let its tasks start."""
    _set_status(model, "online", reason, data, config)


@models.command("offline")
def offline(model: Model, reason: Reason = "requested", data: Data = None, config: Config = None) -> None:
    """Let its tasks wait."""
    _set_status(model, "offline", reason, data, config)


@models.command("remove")
def remove(model: Model, data: Data = None, config: Config = None) -> None:
    """Forget a model."""
    with connected(running_system(data, config).api_url) as client:
        client.delete(f"{PATH}/{model}")
    typer.echo(f"model {model} is gone")


def _set_status(model: str, status: str, reason: str, data: Data, config: Config) -> None:
    with connected(running_system(data, config).api_url) as client:
        answer = client.put(f"{PATH}/{model}/status", {"status": status, "reason": reason})
    typer.echo(f"model {answer['name']} is {answer['status']}")
