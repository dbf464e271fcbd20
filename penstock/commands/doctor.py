"""`penstock doctor`: looks at everything that a system depends on, and says what to do."""

import asyncio

import typer
from rich.console import Console
from rich.text import Text

from penstock.commands.options import Config, Data
from penstock.settings import Settings, load

MARKS = {"ok": ("ok    ", "green"), "missing": ("-     ", "yellow"), "failing": ("FAIL  ", "bold red")}
SUBJECT_WIDTH = 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(data: Data = None, config: Config = None) -> None:
    """Check every dependency and say what to do; exit 1 when one fails."""
    raise typer.Exit(asyncio.run(examine(load(config, data_dir=data), Console())))


async def examine(settings: Settings, console: Console) -> int:
    """Print the findings; the exit status."""
    from penstock.checks import CHECKS

    failing = 0
    for check in CHECKS:
        for finding in await check(settings):
            failing += finding.state == "failing"
            told = f"{finding.detail}. {finding.remedy}" if finding.remedy else finding.detail
            line = Text.assemble(MARKS[finding.state], finding.subject.ljust(SUBJECT_WIDTH), told)
            console.print(line, soft_wrap=True, highlight=False)
    console.print(f"{failing} failing" if failing else "nothing fails")
    return 1 if failing else 0
