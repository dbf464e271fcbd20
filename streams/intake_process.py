"""The intake process: the door for Kafka clients, held work and schedules, over one log."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from domain.configuration import Configuration
from streams import topics
from streams.admission import Admission
from streams.cluster import Cluster, Offsets
from streams.dependants import Dependants
from streams.hearing import hear_commands
from streams.held_work import HeldWork
from streams.intake import Intake, IntakeConfig
from streams.leading import Lead, take_turns
from streams.log import EventLog
from streams.outages import through_outages
from streams.registry import RegistryTail
from streams.schedule_clock import ScheduleClock
from streams.watermark import Watermark

STOP_GRACE_SECONDS = 3.0


async def run_intake(config: IntakeConfig, stop: asyncio.Event) -> None:
    """Take in records, release held work and cancel it on request, until told to stop. Outages are waited for.

    What is cut off is whole all the same: a record that was not committed comes again, and is recognised.
    """
    await through_outages(lambda: _work(config, stop), stop, STOP_GRACE_SECONDS)


async def _work(config: IntakeConfig, stop: asyncio.Event) -> None:
    admission = Admission(config.max_queue_size)
    async with EventLog(config.bootstrap_servers, client_id="penstock-intake") as log:
        dependants = Dependants(config.tasks, config.dependency_grace_seconds, _watermark(config))
        waiting = HeldWork(log, config.tasks, admission, config.classes, dependants)
        defaults = config.defaults.following(lambda: registry.configuration.models)
        clock = ScheduleClock(log, config.tasks, config.catalogue, defaults)

        def configure(configuration: Configuration) -> None:
            waiting.configure(configuration)
            clock.configure(configuration)

        registry = RegistryTail(config.bootstrap_servers, configure, config.configuration)
        intake = Intake(replace(config, defaults=defaults), log, admission, waiting)
        # What was asked while this process was away is known before anything moves.
        heard = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(registry.run()), group.create_task(config.endings(waiting.ended))]
            group.create_task(hear_commands(config.bootstrap_servers, waiting.ask, heard, stop))
            lead = Lead(lambda: intake.leads() and heard.is_set(), _watermark(config))
            group.create_task(take_turns([waiting, clock], stop, lead))
            await intake.run(stop)
            for task in beside:
                task.cancel()


def _watermark(config: IntakeConfig) -> Watermark:
    recorded = topics.recorded_topics(config.classes)

    async def ends() -> Offsets:
        async with Cluster(config.bootstrap_servers) as cluster:
            return await cluster.ends(recorded)

    async def projected() -> Offsets:
        return (await config.tasks.queue()).projected

    return Watermark(ends, projected)
