"""A broker that is killed and comes back: both doors go on by themselves, and nothing accepted is lost."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from penstock.embedded.kafka import is_kafka_ready
from penstock.processes import PARENT_ENV, free_port
from schemas.codec import decode
from schemas.configuration import LimitSet
from schemas.events import TaskSubmitted
from streams import topics
from streams.admin import ensure_topics
from streams.log import EventLog
from streams.registry import RegistryTail
from tests.support.callers import problem
from tests.support.doors import CLASSES, PATIENCE_SECONDS, Doors, eventually, records
from tests.support.registries import following

pytestmark = [pytest.mark.external_service, pytest.mark.slow]

PATH = "/api/v1/tasks"
ROOT = Path(__file__).parents[3]


class MortalBroker:
    """A broker of the test's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port, self._controller_port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Its bootstrap address, the same after a restart."""
        return f"127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = self._started()
        async with asyncio.timeout(60):
            while not await is_kafka_ready(self.address):
                await asyncio.sleep(0.1)

    def _started(self) -> subprocess.Popen[bytes]:
        environment = os.environ | {PARENT_ENV: str(os.getpid()), "PYTHONPATH": str(ROOT)}
        ports = ["--port", str(self._port), "--controller-port", str(self._controller_port)]
        line = [sys.executable, "-m", "penstock.embedded", "kafka", str(self._folder), *ports]
        with (self._folder / "service.log").open("ab") as log:
            return subprocess.Popen(line, stdout=log, stderr=log, env=environment, start_new_session=True)

    def kill(self) -> None:
        """As a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[MortalBroker]:
    """A broker that may be killed."""
    broker = MortalBroker(tmp_path)
    await broker.start()
    yield broker
    broker.kill()


async def test_both_doors_outlive_the_broker(broker: MortalBroker, database: str) -> None:
    tenant = f"t{uuid.uuid4().hex}"
    task = {"type": "echo", "tenant": tenant, "payload": {"text": "x"}}
    doors = Doors(broker.address, database)
    await doors.prepare()

    async def send(name: str) -> None:
        async with AIOKafkaProducer(bootstrap_servers=broker.address) as producer:
            await producer.send_and_wait(topics.INTAKE, json.dumps(task | {"id": name}).encode())

    async with doors.projector(), doors.intake(), doors.api() as client:

        def shown(count: int) -> Callable[[], Awaitable[bool]]:
            async def holds() -> bool:
                answer = await client.get(PATH, params={"tenant": tenant})
                return bool(answer.json()["total"] == count)

            return holds

        # Both doors are at work: an intake that only begins to join its group is another matter, and tested below.
        await send(f"{tenant}-before")
        await eventually(shown(1), "the first task")
        assert (await client.post(PATH, json=task | {"id": f"{tenant}-0"})).status_code == 202
        await send(f"{tenant}-1")
        broker.kill()
        refused = await client.post(PATH, json=task, headers={"idempotency-key": "k"})
        problem(refused, 503, "log-unavailable")
        assert "log" in problem(await client.get("/ready"), 503, "not-ready")["missing"]
        await broker.start()

        async def accepted() -> bool:
            return (await client.post(PATH, json=task, headers={"idempotency-key": "k"})).status_code == 202

        await eventually(accepted, "the API to write again")
        await send(f"{tenant}-2")

        await eventually(shown(5), "the tasks of before, between and after")
        found = [
            decode(record.value)
            for name in topics.recorded_topics(CLASSES)[1:]
            for record in await records(broker.address, name, lambda record: tenant.encode() in record.value)
        ]
        submissions = [message for message in found if isinstance(message, TaskSubmitted)]
        # The refused append may have been written all the same: then the same event is there twice.
        assert len({each.event_id for each in submissions}) == len({each.task_id for each in submissions}) == 5


class Striking(logging.Handler):
    """Does something the first time that aiokafka is about to do what begins with these words, and before it does."""

    def __init__(self, words: str, strike: Callable[[], None]) -> None:
        super().__init__(logging.INFO)
        self._words, self._strike = words, strike
        self.struck = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        if record.getMessage().startswith(self._words) and not self.struck.is_set():
            self._strike()
            self.struck.set()


@pytest.mark.parametrize(
    "words",
    [
        pytest.param("Updating subscribed topics to: frozenset({'tasks-intake'})", id="connecting"),
        pytest.param("(Re-)joining group intake", id="joining"),
    ],
)
async def test_an_intake_whose_first_join_is_cut_off_begins_again(
    broker: MortalBroker, database: str, words: str
) -> None:
    doors = Doors(broker.address, database)
    await doors.prepare()
    striking = Striking(words, broker.kill)
    clients = logging.getLogger("aiokafka")
    clients.addHandler(striking)
    clients.setLevel(logging.INFO)
    try:
        async with doors.intake():
            await asyncio.wait_for(striking.struck.wait(), PATIENCE_SECONDS)
            await broker.start()
            async with AIOKafkaProducer(bootstrap_servers=broker.address) as producer:
                task = {"type": "echo", "payload": {"text": "x"}, "id": "after"}
                await producer.send_and_wait(topics.INTAKE, json.dumps(task).encode())

            async def taken_in() -> bool:
                return bool(await records(broker.address, "tasks-doorcpu-normal", lambda _: True))

            await eventually(taken_in, "the intake to be at work")
    finally:
        clients.removeHandler(striking)
        clients.setLevel(logging.NOTSET)


async def test_the_registry_is_followed_through_an_outage(broker: MortalBroker) -> None:
    await ensure_topics(broker.address, topics.SHARED)

    async def set_limit(tail: RegistryTail, concurrency: int) -> int | None:
        change = LimitSet(
            change_id=f"{concurrency}", changed_at=datetime.now(UTC), scope="tenant", name="a", concurrency=concurrency
        )
        async with EventLog(broker.address) as log:
            written = await log.change(change)
        assert await tail.applied(written.offset, 60)
        return tail.configuration.limits["tenant", "a"].concurrency

    async with following(RegistryTail(broker.address)) as tail:
        assert await set_limit(tail, 1) == 1
        broker.kill()
        await broker.start()
        assert await set_limit(tail, 2) == 2
