"""`penstock doctor`: looks at everything that a system depends on, and says what to do."""

import asyncio

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from penstock.commands.options import Config, Data
from penstock.settings import Settings, load

MARKS = {"ok": Text("ok", "green"), "missing": Text("-", "yellow"), "failing": Text("FAIL", "bold red")}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(data: Data = None, config: Config = None) -> None:
    """Check every dependency and say what to do; exit 1 when one fails."""
    raise typer.Exit(asyncio.run(examine(load(config, data_dir=data), Console())))


async def examine(settings: Settings, console: Console) -> int:
    """Print the findings; the exit status."""
    from penstock.checks import CHECKS

    table = Table(box=None, show_header=False)
    failing = 0
    for check in CHECKS:
        for finding in await check(settings):
            failing += finding.state == "failing"
            table.add_row(MARKS[finding.state], finding.subject, Text(finding.detail), Text(finding.remedy))
    console.print(table)
    console.print(f"{failing} failing" if failing else "nothing fails")
    return 1 if failing else 0
