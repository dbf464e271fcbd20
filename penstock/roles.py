"""The composition root: builds each role from the settings and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog

from penstock.errors import SettingsError
from penstock.processes import announce_ready, die_with_parent
from penstock.settings import Settings

if TYPE_CHECKING:
    from agents.handlers.registry import Registry
    from domain.submission import SubmissionDefaults
    from projections.rebuild import RebuildConfig

#: What a role does, given its settings and the event that tells it to stop.
Role = Callable[[Settings, asyncio.Event], Awaitable[object]]

#: A role that hangs while it drains is ended, with a traceback in its log; the log recovers what it held.
DRAIN_SECONDS_MAX = 20
#: New objects between two looks for garbage in rings, and how many such looks lead to one at older objects.
GARBAGE_THRESHOLDS = (50_000, 20, 20)
#: How long running tasks may go on once their agents were told to stop; stopping the rest takes up to two seconds more.
AGENT_DRAIN_SECONDS = 1.5
#: How long open requests, such as those that wait for a task's end, may go on.
API_DRAIN_SECONDS = 1


def run(role: Role, settings: Settings) -> None:
    """Run a role in this process until SIGINT or SIGTERM; ends with its parent where it has one."""
    die_with_parent()
    configure_logging(settings)
    # What a process holds is mostly tasks, facts and rows, which refer to nothing that refers back: looking for rings
    # among them after every 700 new objects, as Python does, is a tenth of all its work and finds next to nothing.
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    import uvloop

    # As the policy too: Faust reads the log in a thread with a loop of its own.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    uvloop.run(_until_stopped(role, settings))


def end_in_time() -> None:
    """This process ends within DRAIN_SECONDS_MAX, whatever hangs: also threads that nobody can stop."""
    faulthandler.dump_traceback_later(DRAIN_SECONDS_MAX, exit=True)


async def _until_stopped(role: Role, settings: Settings) -> None:
    stop = asyncio.Event()

    def ask_to_stop() -> None:
        stop.set()
        end_in_time()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ask_to_stop)
    await role(settings, stop)


def configure_logging(settings: Settings) -> None:
    """Structured lines, one an event, on standard error and in the file that the settings name."""
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if settings.log_file:
        handlers.append(logging.FileHandler(settings.log_file, encoding="utf-8"))
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _without_colours,
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "logger", "event"]),
        ],
    )
    for handler in handlers:
        handler.setFormatter(renderer)
    logging.basicConfig(level=settings.log_level, handlers=handlers, force=True)
    # Each request and each reconnection would be a line; their warnings are still heard.
    for noisy in ("httpx", "httpx2", "aiokafka", "alembic", "mode", "faust"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _without_colours(_logger: object, _name: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """uvicorn says everything twice, the second time in colours."""
    line.pop("color_message", None)
    return line


def addresses(settings: Settings) -> tuple[str, str]:
    """Kafka's and PostgreSQL's address, which a role cannot do without.

    Raises: SettingsError.
    """
    if settings.kafka_bootstrap_servers is None or settings.database_url is None:
        raise SettingsError(
            "A role needs the addresses of Kafka and PostgreSQL.",
            remedy="Set KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL, or let `penstock up` run every role.",
        )
    return settings.kafka_bootstrap_servers, settings.database_url.get_secret_value()


def shards(settings: Settings) -> dict[str, int]:
    """Each class's number of shards."""
    return {name: each.shards for name, each in settings.classes.items()}


async def prepare(settings: Settings, stop: asyncio.Event) -> None:
    """Create topics and tables; a role of its own because every other one needs both."""
    from projections.migrate import migrate
    from streams.admin import ensure_topics
    from streams.topics import all_topics

    bootstrap_servers, database_url = addresses(settings)
    await ensure_topics(bootstrap_servers, all_topics(shards(settings)), replication_factor=settings.replication_factor)
    await migrate(database_url)


def registry(settings: Settings) -> Registry:
    """Every handler that the installation knows: built-in, of installed distributions, and of the settings."""
    # Modules of the user's own lie in the folder that the command was given in.
    sys.path.append(os.getcwd())
    from agents.handlers.registry import load_handlers

    return load_handlers(settings.handlers)


def agents_of(resource_class: str) -> Role:
    """The role of one class's agents."""

    async def agents(settings: Settings, stop: asyncio.Event) -> None:
        from agents.worker import WorkerConfig, run_worker
        from domain.limits.exchange import Terms
        from domain.retry import RetryPolicy

        mine = settings.classes[resource_class]
        config = WorkerConfig(
            bootstrap_servers=addresses(settings)[0],
            resource_class=resource_class,
            shards=mine.shards,
            slots=mine.slots,
            window_size=mine.window_size,
            memory_mb=mine.memory_mb,
            strategy=mine.strategy,
            configuration=settings.first_configuration,
            database_url=addresses(settings)[1],
            leases=Terms.lasting(settings.limit_lease_seconds),
            node=settings.node_name,
            retry=RetryPolicy(
                delay_seconds=settings.retry_delay_seconds, delay_seconds_max=settings.retry_delay_max_seconds
            ),
            drain_seconds=AGENT_DRAIN_SECONDS,
            handlers=settings.for_handlers(),
        )
        handlers = registry(settings)
        announce_ready()
        await run_worker(config, handlers, stop, on_failure=end_in_time)

    return agents


def defaults(settings: Settings) -> SubmissionDefaults:
    """What a submission that leaves a field out gets."""
    from domain.models import DeclaredModels
    from domain.submission import SubmissionDefaults

    llm = settings.for_handlers().llm
    models = DeclaredModels(
        {model.name: model for model in llm.models},
        default=llm.default_model,
        of_settings=llm.model if llm.base_url is not None else None,
    )
    return SubmissionDefaults(
        timeout_seconds=settings.task_timeout_seconds, max_retries=settings.max_retries, models=lambda: models
    )


async def projector(settings: Settings, stop: asyncio.Event) -> None:
    """Follows the log and keeps the read models up with it."""
    from projections.runner import ProjectorConfig, run_projector

    bootstrap_servers, database_url = addresses(settings)
    config = ProjectorConfig(
        bootstrap_servers=bootstrap_servers, database_url=database_url, classes=tuple(settings.classes)
    )
    announce_ready()
    await run_projector(config, stop)


def rebuild_config(settings: Settings) -> RebuildConfig:
    """What a replay of the log is given."""
    from projections.rebuild import RebuildConfig

    bootstrap_servers, database_url = addresses(settings)
    return RebuildConfig(
        bootstrap_servers=bootstrap_servers, database_url=database_url, classes=tuple(settings.classes)
    )


async def intake(settings: Settings, stop: asyncio.Event) -> None:
    """Outsiders' records, and work that waits."""
    from projections.database import open_engine
    from projections.endings import Endings
    from projections.intake_model import IntakeTasks
    from streams.intake import IntakeConfig
    from streams.intake_process import run_intake

    bootstrap_servers, database_url = addresses(settings)
    engine = open_engine(database_url)
    try:
        config = IntakeConfig(
            bootstrap_servers=bootstrap_servers,
            catalogue=registry(settings).catalogue(),
            tasks=IntakeTasks(engine),
            classes=tuple(settings.classes),
            max_queue_size=settings.max_queue_size,
            dependency_grace_seconds=settings.dependency_grace_seconds,
            defaults=defaults(settings),
            configuration=settings.first_configuration,
            endings=Endings(database_url).tell,
        )
        announce_ready()
        await run_intake(config, stop)
    finally:
        await engine.dispose()


async def api(settings: Settings, stop: asyncio.Event) -> None:
    """The HTTP API; uvicorn heeds the signals while it serves, and ends when told to."""
    import uvicorn

    from api.app import create_app
    from api.ports import ApiSettings
    from api.wiring import ApiConfig, open_api

    bootstrap_servers, database_url = addresses(settings)
    config = ApiConfig(
        bootstrap_servers=bootstrap_servers,
        database_url=database_url,
        settings=ApiSettings(
            version=version("penstock"),
            classes=tuple(settings.classes),
            ready_classes=tuple(settings.started_classes),
            max_queue_size=settings.max_queue_size,
            defaults=defaults(settings),
            key_grants=settings.key_grants,
        ),
        catalogue=registry(settings).catalogue(),
        first=settings.first_configuration,
    )
    async with open_api(config) as deps:
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(deps),
                host=settings.host,
                port=settings.port,
                http="httptools",
                lifespan="on",
                # Our own logging, and our own line a request.
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=API_DRAIN_SECONDS,
            )
        )
        serving = asyncio.create_task(server.serve())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        stopping.cancel()
        await serving
