"""Commands on the log itself: its topics, and what can be rebuilt from it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from domain.errors import PenstockError
from penstock.commands.options import Config, Data, running_system
from penstock.errors import ReplayCutShort, SettingsError
from penstock.settings import Settings, load

PANEL = "The log"
T = TypeVar("T")


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
    """Read the whole log again, to rebuild the read models, or to prove that they agree with it.

    With --verify: exit 0 when they agree, 1 when they differ. Exit 5 when an outage or other maintenance prevents it.
    """
    if rebuild == verify:
        raise SettingsError("Replay needs a purpose.", remedy="Give --verify or --rebuild.")
    settings = load(config, data_dir=data)
    if settings.kafka_bootstrap_servers is None or settings.database_url is None:
        system = running_system(data, config)
        addresses = {"kafka_bootstrap_servers": system.bootstrap_servers, "database_url": system.database_url}
        settings = load(config, data_dir=data, **addresses)
    raise typer.Exit(asyncio.run(_rebuild(settings) if rebuild else _verify(settings)))


async def _rebuild(settings: Settings) -> int:
    from penstock import roles
    from projections.rebuild import rebuild

    with _progress() as told:
        done = await _whole(rebuild(roles.rebuild_config(settings), told))
    typer.echo(f"Rebuilt from {done.records} records in {done.seconds:.1f} s, and put in the place of the live ones.")
    return 0


async def _verify(settings: Settings) -> int:
    from penstock import roles
    from projections.rebuild import verify

    with _progress() as told:
        found = await _whole(verify(roles.rebuild_config(settings), told))
    for table in found.tables:
        for line in table.lines():
            typer.echo(line)
    agree = "agree" if found.matches else "do not agree"
    typer.echo(f"The read models {agree} with the log ({found.records} records, {found.seconds:.1f} s).")
    return 0 if found.matches else 1


async def _whole(work: Awaitable[T]) -> T:
    """The work's answer.

    Raises: ReplayCutShort for an outage or other maintenance, which leave everything as it was.
    """
    import psycopg
    from aiokafka.errors import KafkaError
    from sqlalchemy.exc import DBAPIError

    from projections.rebuild import MaintenanceRunning

    try:
        return await work
    except MaintenanceRunning as error:
        raise ReplayCutShort(
            "Another rebuild or verification of these read models is under way.",
            remedy="Wait until it has ended, and try again.",
        ) from error
    except (KafkaError, psycopg.Error, DBAPIError, OSError) as error:
        # TimeoutError is an OSError. SQLAlchemy adds its own explanations to what the driver said.
        said = str(getattr(error, "orig", None) or error)
        reason = " ".join(said.split()).rstrip(".") or type(error).__name__
        raise ReplayCutShort(
            f"The replay was cut short: {reason}.",
            remedy="Nothing was changed; `penstock doctor` says what is down, then try again.",
        ) from error
    except PenstockError as error:
        raise ReplayCutShort(f"The replay was cut short: {error}.", remedy="Nothing was changed.") from error


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """Show how many records have been read, on standard error, where somebody looks."""
    with Console(stderr=True).status("reading the log") as status:
        yield lambda records: status.update(f"{records} records read")
