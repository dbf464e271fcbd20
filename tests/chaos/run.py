"""One chaos run: a system of its own, load, blows, and the verdict once everything has come to rest."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from penstock.installation import Installation, Ports, RunningSystem, write_atomically
from penstock.processes import free_port
from penstock.started import started
from streams.topics import INTAKE, class_topics
from tests.chaos import ledger
from tests.chaos.crew import SUPERVISED_WORKER, Crew
from tests.chaos.judge import Life, judge, live
from tests.chaos.load import Load, make_load
from tests.chaos.operator import STEERING, Operator
from tests.chaos.plan import CLASS, make_plan
from tests.chaos.watch import Watch, lag
from tests.support.logbook import facts_by_task

#: Nothing may stand still for longer while tasks wait: a session, a broker's return, a recovery, on a busy machine.
STALL_SECONDS_MAX = 90.0
#: How long the committed offsets may need to reach the ends once every task has ended.
LAG_SECONDS_MAX = 60.0
#: An outage may prevent a verification; it is tried again.
VERIFY_TRIES = 3
OUTAGE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a run is made of; with the same options the same things break."""

    seed: int
    seconds: float = 300.0
    tasks: int = 6_000
    #: Workers that are always there; others come and go.
    workers: int = 2
    #: One blow in so many seconds, on average.
    pace_seconds: float = 4.0
    #: How long everything may take to come to rest after the last blow.
    settle_seconds: float = 240.0


@dataclass(slots=True)
class Report:
    """What a run found; it went well when no promise was broken."""

    options: Options
    blows: list[str] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)
    #: What is wrong, by promise.
    broken: dict[str, list[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"seed {self.options.seed}: {'BROKEN' if self.broken else 'all promises held'}"]
        lines += [f"  {name}: {value}" for name, value in self.figures.items()]
        for promise, problems in self.broken.items():
            lines.append(f"  BROKEN: {promise} ({len(problems)})")
            lines += [f"    {problem}" for problem in problems[:20]]
        return "\n".join(lines)


def run(options: Options, folder: Path) -> Report:
    """Start a system in the folder, break it, let it come to rest, and judge."""
    book = folder / "ledger.jsonl"
    environment = {
        "PENSTOCK_HANDLERS": "tests.chaos.work",
        "PENSTOCK_CLASSES": json.dumps({CLASS: {"slots": 8}}),
        "PENSTOCK_RETRY_DELAY_SECONDS": "0.5",
        "PENSTOCK_MAX_QUEUE_SIZE": "1000000",
    }
    data_dir = folder / "data"
    port = _own_ports(data_dir)
    with (
        (folder / "up.log").open("w") as output,
        started(data_dir, arguments=["--classes", CLASS], environment=environment, output=output, port=port) as system,
    ):
        crew = Crew(data_dir, environment)
        report = Report(options)
        asyncio.run(_run(report, system, crew, book))
        report.figures["restarts"] = {
            name: role.restarts for name, role in Installation(data_dir).running().roles.items() if role.restarts
        }
        if code := _verify(data_dir):
            report.broken["read models equal the fold"] = [f"`penstock replay --verify` exits with {code}"]
    return report


async def _run(report: Report, system: RunningSystem, crew: Crew, book: Path) -> None:
    options = report.options
    tenant = f"chaos-{uuid.uuid4().hex[:8]}"
    planned = make_load(options.seed, options.tasks, options.seconds, tenant=tenant, ledger=str(book))
    load = Load(system.api_url, system.bootstrap_servers, tenant)
    watch = Watch(system.bootstrap_servers, SUPERVISED_WORKER)
    services = [crew.look(), watch.follow(), watch.sample(), *(crew.man() for _ in range(options.workers - 1))]
    async with _running(*services):
        try:
            begun = time.monotonic()
            watch.begins()
            operator = Operator(system.api_url, tenant)
            async with asyncio.TaskGroup() as group:
                group.create_task(load.submit(planned))
                group.create_task(_strike(crew, operator, options))
            crew.thaw()
            settling = time.monotonic()
            while not watch.finished(load.accepted) and time.monotonic() < settling + options.settle_seconds:
                await asyncio.sleep(0.2)
            settled = time.monotonic()
            behind = await _until_empty(lambda: _lags(system.bootstrap_servers))
        finally:
            crew.thaw()
            crew.look_once()
    # Outside, so that no worker is replaced while it is dismissed.
    await crew.dismiss()
    lives = {
        task_id: live(task_id, facts)
        for task_id, facts in (await facts_by_task(system.bootstrap_servers, [CLASS])).items()
    }
    executions = ledger.with_deaths(ledger.read(book), crew.died_at)
    broken = judge(load.accepted, lives, executions)
    broken["no fenced worker goes on"] = ledger.overlaps(executions, crew.freezes)
    broken["every door opens again"] = [f"task number {number}: not accepted" for number in load.refused]
    broken["committed offsets advance"] = [f"{name}: {count} records are not committed" for name, count in behind]
    if watch.stall_seconds > STALL_SECONDS_MAX:
        broken["committed offsets advance"].append(f"nothing moved for {watch.stall_seconds:.0f} s while tasks waited")
    if not watch.finished(load.accepted):
        missing = [task_id for task_id in load.accepted if task_id not in watch.ended]
        broken["everything comes to rest"] = [f"task {task_id}: {_where(lives.get(task_id))}" for task_id in missing]
    report.broken = {promise: problems for promise, problems in broken.items() if problems}
    report.blows = crew.done
    report.figures = {
        "tasks accepted": len(load.accepted),
        "executions": len(executions),
        "attempts lost": sum(life.state.attempts_lost for life in lives.values()),
        "facts without effect": sum(life.ignored for life in lives.values()),
        "yielded": sum(life.yielded for life in lives.values()),
        "blows": len(crew.done),
        "longest stall, s": round(watch.stall_seconds, 1),
        "came to rest after, s": round(settled - settling, 1),
        "seconds": round(settled - begun, 1),
    }


def _own_ports(data_dir: Path) -> int:
    """The API's port; Kafka's are chosen too. All are this process's: nobody takes that of a role that is dead."""
    installation = Installation(data_dir)
    installation.create()
    ports = Ports(kafka=free_port(), kafka_controller=free_port())
    write_atomically(installation.run_dir / "ports.json", json.dumps(asdict(ports)))
    return free_port()


def _where(life: Life | None) -> str:
    return (
        "not in the log" if life is None else f"{life.state.status}, attempt {life.state.attempt}, {life.state.version}"
    )


async def _strike(crew: Crew, operator: Operator, options: Options) -> None:
    begun = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for blow in make_plan(options.seed, options.seconds, options.pace_seconds):
            await asyncio.sleep(begun + blow.at_seconds - time.monotonic())
            print(blow, file=sys.stderr, flush=True)
            steered = blow.deed in STEERING
            group.create_task(operator.steer(blow) if steered else crew.strike(blow))


async def _lags(bootstrap_servers: str) -> list[tuple[str, int]]:
    agents = await lag(bootstrap_servers, SUPERVISED_WORKER, list(class_topics(CLASS)))
    return sorted((agents | await lag(bootstrap_servers, "intake", [INTAKE])).items())


async def _until_empty(ask: Callable[[], Awaitable[list[tuple[str, int]]]]) -> list[tuple[str, int]]:
    """What is left when nothing is, or when time is up."""
    deadline = time.monotonic() + LAG_SECONDS_MAX
    while (left := await ask()) and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
    return left


@contextlib.asynccontextmanager
async def _running(*services: Awaitable[None]) -> AsyncIterator[None]:
    """Services beside the block; what one of them raised is raised at its end."""
    running = [asyncio.ensure_future(service) for service in services]
    try:
        yield
        for service in running:
            if service.done():
                service.result()
    finally:
        for service in running:
            service.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _verify(data_dir: Path) -> int:
    command = [sys.executable, "-m", "penstock", "replay", "--verify", "--data", str(data_dir)]
    for _ in range(VERIFY_TRIES):
        code = subprocess.run(command, check=False, stdout=sys.stderr, timeout=600).returncode
        if code != OUTAGE:
            break
    return code
