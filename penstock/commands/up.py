"""`penstock up`: the whole system, until it is told to stop."""

import asyncio
import signal
from contextlib import suppress
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from penstock.commands.options import Config, Data
from penstock.settings import Settings, load

NAME_WIDTH = 14


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(up)


def up(
    host: Annotated[str | None, typer.Option(help="The address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on.", show_default="8080")] = None,
    data: Data = None,
    classes: Annotated[
        str | None, typer.Option(help="Classes to run agents for, such as cpu,io.", show_default="all")
    ] = None,
    config: Config = None,
) -> None:
    """Start everything, keep it running, and stop it all on Ctrl-C."""
    settings = load(config, host=host, port=port, data_dir=data, start_classes=classes)
    asyncio.run(run_until_stopped(settings, Console(highlight=False)))


async def run_until_stopped(settings: Settings, console: Console) -> None:
    """Run a system until SIGINT or SIGTERM; a second one kills what has not stopped yet."""
    from penstock.supervisor import running_system

    def say(role: str, text: str) -> None:
        console.print(Text.assemble((role.ljust(NAME_WIDTH), "bold"), text), soft_wrap=True)

    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    async with running_system(settings, say) as supervisor:
        ready = asyncio.create_task(supervisor.all_ready())
        stop = asyncio.create_task(asked.wait())
        await asyncio.wait({ready, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not stop.done():
            say("penstock", f"ready: {supervisor.system.api_url} (data in {settings.data_dir}); Ctrl-C stops it")
        await stop
        ready.cancel()
        with suppress(asyncio.CancelledError):
            await ready
        say("penstock", "stopping")
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, supervisor.kill)
    say("penstock", "stopped")
