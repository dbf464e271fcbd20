"""One worker of one resource class: wires stream, owner, dispatcher and engines, and lives until told to stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from agents.artifacts import ArtifactStore
from agents.attempts import AttemptRunner
from agents.command_tail import CommandTail
from agents.core import Core, CoreConfig, make_core
from agents.dispatch_status import DispatchStatus
from agents.dispatcher import STOP_SECONDS_MAX, Dispatcher
from agents.engines.engines import Engines
from agents.handlers.registry import Registry
from agents.handlers.settings import HandlerSettings
from agents.limits.gates import Gates
from agents.limits.table import PostgresTable
from agents.measurements import Measurements, blocks
from agents.outbox import Outbox
from agents.owner import Owner
from agents.recovery import LogRecovery
from agents.relocation import LagBound, Relocation
from agents.rerouting import reroute
from agents.room import Room
from agents.routing import ModelRouter
from agents.vitals import VitalSigns
from agents.watchdog import Patience
from domain.configuration import Configuration
from domain.errors import TaskError
from domain.limits.exchange import Terms
from domain.retry import RetryPolicy
from domain.strategies.choice import StrategyChoice
from streams.faust_stream import FaustShardStream
from streams.log import EventLog
from streams.registry import RegistryTail
from streams.shard_stream import GroupMembership, ShardStream
from streams.topics import class_topics


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """Everything that a worker needs to know."""

    bootstrap_servers: str
    resource_class: str
    shards: int = 4
    #: Attempts that run at a time.
    slots: int = 8
    #: Waiting tasks held in memory for each band and shard.
    window_size: int = 10_000
    #: What attempts and loaded models may declare to need together, in MB; None: as much as they like.
    memory_mb: int | None = None
    strategy: str = "priority"
    #: What the settings say beside; changes of the registry are applied on top of it.
    configuration: Configuration = field(default_factory=Configuration)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    lag: LagBound = field(default_factory=LagBound)
    patience: Patience = field(default_factory=Patience)
    session_timeout_seconds: float = 10.0
    #: Where leases are and where the worker says what waits; None: limits hold within this process only.
    database_url: str | None = None
    #: How long leases of limits last and when they are renewed; the same for all workers of an installation.
    leases: Terms = field(default_factory=Terms)
    #: Whom limits of the scope `node` are about; None: this host's name.
    node: str | None = None
    #: How long running attempts may go on once the worker was told to stop.
    drain_seconds: float = 3.0
    handlers: HandlerSettings = field(default_factory=HandlerSettings)

    @property
    def group(self) -> str:
        """The consumer group of the class."""
        return f"agents-{self.resource_class}"

    @property
    def first_configuration(self) -> Configuration:
        """What holds where the registry says nothing else."""
        strategies = {self.resource_class: StrategyChoice(self.strategy), **self.configuration.strategies}
        return replace(self.configuration, strategies=strategies)

    @property
    def membership(self) -> GroupMembership:
        """How the worker joins its group."""
        return GroupMembership(
            bootstrap_servers=self.bootstrap_servers,
            group=self.group,
            topics=tuple(class_topics(self.resource_class)),
            shards=self.shards,
            session_timeout_seconds=self.session_timeout_seconds,
        )


async def run_worker(
    config: WorkerConfig,
    registry: Registry,
    stop: asyncio.Event,
    *,
    make_stream: Callable[[GroupMembership], ShardStream] = FaustShardStream,
    on_failure: Callable[[], object] = lambda: None,
) -> None:
    """Work until `stop` is set, then hand back what runs and leave the group.

    `on_failure` is called when something else ends the worker, before anything is stopped: what has failed may hang
    while it stops, and must not keep the process from being replaced.

    Raises:
        Exception: whatever ended the worker; its process must exit, so that its supervisor starts another.
    """
    engines = Engines(config.handlers, processes_max=config.slots, modules=registry.modules())
    try:
        async with EventLog(config.bootstrap_servers, client_id=config.group) as log:
            await _work(config, registry, engines, log, make_stream(config.membership), stop, on_failure)
    finally:
        await engines.close()


async def _work(
    config: WorkerConfig,
    registry: Registry,
    engines: Engines,
    log: EventLog,
    stream: ShardStream,
    stop: asyncio.Event,
    on_failure: Callable[[], object],
) -> None:
    runner = AttemptRunner(
        registry=registry,
        settings=config.handlers,
        engines=engines,
        artifacts=ArtifactStore(config.handlers.artifacts_url),
        log=log,
        retry=config.retry,
    )
    outbox = Outbox(log, certain=lambda: stream.in_session)
    commands = CommandTail(config.bootstrap_servers, lambda command: core.owner.wishes.obey(command))
    table = None if config.database_url is None else PostgresTable(config.database_url, config.leases)
    room = Room(registry, engines.local_models, config.memory_mb)
    gates = Gates(config.resource_class, slots=config.slots, table=table, node=config.node)
    measurements = Measurements()
    engines.text_models.on_call = measurements.ended
    router = ModelRouter(registry, measurements, config.first_configuration)
    core = make_core(
        CoreConfig(
            resource_class=config.resource_class,
            topics=tuple(config.membership.topics),
            slots=config.slots,
            window_size=config.window_size,
            configuration=config.first_configuration,
        ),
        stream,
        log,
        outbox,
        runner,
        gates,
        recover=LogRecovery(config.bootstrap_servers, config.group),
        commands_from=commands.read_from,
        router=router,
        room=room,
    )
    owner, dispatcher = core.owner, core.dispatcher
    measurements.closed = lambda: blocks(core.gatekeeper.closed_providers(), gates.clock())

    def configure(configuration: Configuration) -> None:
        engines.text_models.configure(configuration.models, configuration.providers)
        router.configure(configuration)
        dispatcher.configure(configuration)

    registry_tail = RegistryTail(config.bootstrap_servers, configure, config.first_configuration)
    vitals = VitalSigns(config.bootstrap_servers, stream, outbox, owner, config.patience)
    await stream.start(owner)
    try:
        await _until_stopped(
            stop,
            stream.ended(),
            outbox.run(),
            _dispatch(dispatcher, owner, registry_tail),
            commands.run(),
            registry_tail.run(),
            gates.run(),
            _share(config, core, measurements),
            reroute(owner, router),
            Relocation(owner, log, config.lag).run(),
            vitals.run(),
            _warm_up(engines, config.resource_class),
            leave=lambda: _leave(config, dispatcher, outbox),
        )
    except Exception:
        on_failure()
        raise
    finally:
        await room.close()
        await stream.stop()


async def _share(config: WorkerConfig, core: Core, measurements: Measurements) -> None:
    """Tell the others what waits here and how models are doing, and hear it from them."""
    if config.database_url is None:
        await asyncio.Event().wait()
        return
    status = DispatchStatus(config.database_url, config.resource_class, core, measurements.told)
    following = measurements.follow(config.database_url, config.resource_class, core.dispatcher.worker)
    async with asyncio.TaskGroup() as group:
        group.create_task(status.run())
        group.create_task(following)


async def _dispatch(dispatcher: Dispatcher, owner: Owner, registry: RegistryTail) -> None:
    """Nothing starts before it is known what is paused."""
    await registry.caught_up()
    await dispatcher.run(owner)


async def _warm_up(engines: Engines, resource_class: str) -> None:
    """An engine that cannot start fails the tasks that need it, each with its reason; the others go on."""
    try:
        await engines.warm_up(resource_class)
    except TaskError as error:
        logging.getLogger(__name__).error("an engine cannot start: %s: %s", error.code, error.detail)


async def _until_stopped(stop: asyncio.Event, *services: Awaitable[None], leave: Callable[[], Awaitable[None]]) -> None:
    """Run the services until `stop` is set, then `leave` while they still run; raises what any of them raises."""
    running = [asyncio.ensure_future(service) for service in services]
    stopping = asyncio.ensure_future(stop.wait())
    try:
        pending = {stopping, *running}
        while not stopping.done():
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for service in done:
                service.result()
        await leave()
    finally:
        for task in (stopping, *running):
            task.cancel()
        await asyncio.gather(stopping, *running, return_exceptions=True)


async def _leave(config: WorkerConfig, dispatcher: Dispatcher, outbox: Outbox) -> None:
    await dispatcher.drain(config.drain_seconds)
    try:
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await outbox.drained()
    except TimeoutError:
        logging.getLogger(__name__).warning("left with %d facts unwritten; a successor decides them again", len(outbox))
