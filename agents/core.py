"""The core of a worker, put together: owner, window, gates, dispatcher; everything but its connections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from agents.attempts import AttemptRunner
from agents.bands import BandBounds
from agents.departures import Router
from agents.dispatcher import Dispatcher
from agents.gatekeeper import Gatekeeper
from agents.lanes import Lanes
from agents.limits.gates import Gates
from agents.outbox import Outbox
from agents.owner import ClassGroup, Owner
from agents.recovery import Recover
from agents.room import Room
from agents.running import RunningAttempts
from agents.steering import FAIR, Steering, StrategyMaker
from agents.wait_accounts import WaitAccounts
from agents.window import Window
from domain.configuration import Configuration
from domain.models import DEFAULT_KEY
from domain.waits import Ledger
from streams.log import EventLog
from streams.shard_stream import ShardStream


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreConfig:
    """How the core is to be."""

    resource_class: str
    #: The class's topics, most urgent first.
    topics: tuple[str, ...]
    slots: int
    #: Waiting tasks held in memory for each band and shard.
    window_size: int
    #: What holds until another configuration is applied.
    configuration: Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The parts that live as long as the worker."""

    owner: Owner
    dispatcher: Dispatcher
    window: Window
    running: RunningAttempts
    gatekeeper: Gatekeeper
    steering: Steering
    maker: StrategyMaker


def make_core(
    config: CoreConfig,
    stream: ShardStream,
    log: EventLog,
    outbox: Outbox,
    runner: AttemptRunner,
    gates: Gates,
    *,
    recover: Recover,
    commands_from: Callable[[int], None],
    router: Router | None = None,
    room: Room | None = None,
) -> Core:
    """Wire the parts. Nothing runs yet."""
    choice = config.configuration.strategy_of(config.resource_class)
    ledger = Ledger(config.slots, datetime.now(UTC).timestamp() * 1000, fair=choice.name == FAIR)
    accounts = WaitAccounts(ledger)
    lanes = Lanes(runner.registry, endpoint=DEFAULT_KEY if runner.settings.llm.base_url is not None else None)
    maker = StrategyMaker()
    bounds = BandBounds(config.window_size, on_full=stream.full, on_drained=stream.drained)
    window = Window(maker.make(choice), bounds, lanes.view_of, accounts)

    room = room or Room(runner.registry, runner.engines.local_models)
    gatekeeper = Gatekeeper(config.resource_class, gates, room, ledger, window.reopen)
    steering = Steering(config.resource_class, choice, maker, window, lanes, gatekeeper, ledger)
    running = RunningAttempts(config.slots, window, gatekeeper, ledger)
    dispatcher = Dispatcher(window, outbox, runner, running, gatekeeper, steering, accounts)
    owner = Owner(
        ClassGroup(config.resource_class, config.topics),
        stream,
        outbox,
        window,
        accounts,
        log,
        recover=recover,
        wake=dispatcher.wake,
        arrived=dispatcher.arrived,
        commands_from=commands_from,
        router=router,
    )
    dispatcher.configure(config.configuration)
    return Core(
        owner=owner,
        dispatcher=dispatcher,
        window=window,
        running=running,
        gatekeeper=gatekeeper,
        steering=steering,
        maker=maker,
    )
