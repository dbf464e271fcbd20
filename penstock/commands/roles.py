"""One command a role: what `penstock up` runs as processes, and what a container or a unit runs in production."""

from typing import Annotated

import typer

from penstock.commands.options import Config, Data
from penstock.settings import load

PANEL = "Roles (one process each; `penstock up` runs them all)"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (kafka, postgres, prepare, api, agents, projector, intake):
        app.command(rich_help_panel=PANEL)(command)


def kafka(data: Data = None, config: Config = None) -> None:
    """The embedded Apache Kafka, alone."""
    from penstock.embedded.jars import default_cache_dir
    from penstock.embedded.kafka import KafkaPlace, exec_kafka
    from penstock.installation import Installation

    settings = load(config, data_dir=data)
    installation = Installation(settings.data_dir)
    installation.create()
    ports = installation.ports()
    place = KafkaPlace(folder=installation.kafka_dir, port=ports.kafka, controller_port=ports.kafka_controller)
    exec_kafka(place, jars_dir=settings.jars_dir or default_cache_dir())


def postgres(data: Data = None, config: Config = None) -> None:
    """The embedded PostgreSQL, alone."""
    from penstock.embedded.postgres import PostgresPlace, exec_postgres
    from penstock.installation import Installation

    installation = Installation(load(config, data_dir=data).data_dir)
    installation.create()
    exec_postgres(PostgresPlace(folder=installation.postgres_dir))


def prepare(data: Data = None, config: Config = None) -> None:
    """Create the topics and migrate the database, then end; safe to repeat."""
    from penstock import roles

    roles.run(roles.prepare, load(config, data_dir=data))


def projector(data: Data = None, config: Config = None) -> None:
    """The projector, which writes the read models."""
    from penstock import roles

    roles.run(roles.projector, load(config, data_dir=data))


def intake(data: Data = None, config: Config = None) -> None:
    """The intake of outsiders' records, and the service that holds work until it is due."""
    from penstock import roles

    roles.run(roles.intake, load(config, data_dir=data))


def agents(
    resource_class: Annotated[str, typer.Argument(help="The class, such as cpu.")],
    data: Data = None,
    config: Config = None,
) -> None:
    """The agents of one class; run it several times to share the class's shards."""
    from penstock import roles
    from penstock.errors import SettingsError

    settings = load(config, data_dir=data)
    if resource_class not in settings.classes:
        known = ", ".join(settings.classes)
        raise SettingsError(f"There is no class {resource_class!r}.", remedy=f"Classes: {known}.")
    roles.run(roles.agents_of(resource_class), settings)


def api(
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on.")] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """The HTTP API."""
    from penstock import roles

    roles.run(roles.api, load(config, host=host, port=port, data_dir=data))
