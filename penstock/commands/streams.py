"""Commands on the log itself: its topics, and what can be rebuilt from it."""

import asyncio
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from penstock.commands.options import Config, Data, running_system
from penstock.errors import SettingsError
from penstock.settings import load

PANEL = "The log"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=PANEL)(topics)
    app.command(rich_help_panel=PANEL)(replay)


def topics(
    bootstrap: Annotated[
        bool, typer.Option("--bootstrap", help="Print only the address of the running Kafka.")
    ] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """List the topics, with who writes and who reads them."""
    if bootstrap:
        typer.echo(running_system(data, config).bootstrap_servers)
        return
    from streams.topics import all_topics

    settings = load(config, data_dir=data)
    table = Table("topic", "key", "partitions", "kept", "holds", "written by", "read by", box=None)
    for topic in all_topics({name: each.shards for name, each in settings.classes.items()}):
        kept = "for ever" if topic.retention_ms < 0 else f"{topic.retention_ms / 3_600_000:g} h"
        people = [", ".join(topic.producers), ", ".join(topic.consumers)]
        table.add_row(topic.name, topic.key, str(topic.partitions), kept, topic.holds, *people)
    Console().print(table)


def replay(
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build the read models anew, beside the live ones.")
    ] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Build them in a scratch schema and compare.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Read the whole log again: to rebuild the read models, or to prove that they agree with it (exit 1 if not)."""
    if rebuild == verify:
        raise SettingsError("Replay needs a purpose.", remedy="Give --verify or --rebuild.")
    from penstock import roles

    system = running_system(data, config)
    settings = load(
        config, data_dir=data, kafka_bootstrap_servers=system.bootstrap_servers, database_url=system.database_url
    )
    differences = asyncio.run(roles.rebuild(settings) if rebuild else roles.verify(settings))
    for difference in differences:
        typer.echo(str(difference))
    if verify and not differences:
        typer.echo("The read models agree with the log.")
    raise typer.Exit(1 if differences else 0)
