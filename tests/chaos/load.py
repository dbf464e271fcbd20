"""The tasks of a chaos run, drawn from its seed, and the two doors by which they come in."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.topics import INTAKE

#: More than any run can kill, so that only tasks that are meant to fail do.
RETRIES = 50
SUBMITTERS = 8
#: How long a door is tried again before the run gives up on it.
PATIENCE_SECONDS = 180.0
PAUSE_SECONDS = 0.2
#: Of a short task: a backlog builds up whenever workers are away.
MEAN_SECONDS = 0.2

COMPLETED = frozenset({"completed"})
#: What becomes of a task, by what it does; a cancelled one may have been quicker.
ENDS: Mapping[str, frozenset[str]] = {"fail": frozenset({"failed"}), "cancel": frozenset({"completed", "cancelled"})}


@dataclass(frozen=True, slots=True)
class Planned:
    """One task that is going to be submitted."""

    number: int
    at_seconds: float
    #: How it may end.
    ends: frozenset[str]
    body: Mapping[str, object]
    by_log: bool
    #: It waits for a task that was accepted before it, and that will complete.
    follows: bool = False
    #: Seconds from its acceptance to the wish to cancel it; None where it is let be.
    cancel_after_seconds: float | None = None
    run_after_seconds: float | None = None


def make_load(seed: int, tasks: int, seconds: float, *, tenant: str, ledger: str) -> list[Planned]:
    """Tasks over so many seconds: most of them short, a few long, some that fail, kill, wait or are cancelled. Pure."""
    chance = random.Random(f"load {seed}")
    moments = sorted(chance.uniform(0.0, seconds) for _ in range(tasks))
    return [_planned(chance, number, at, tenant, ledger, seconds) for number, at in enumerate(moments)]


def _planned(chance: random.Random, number: int, at: float, tenant: str, ledger: str, seconds: float) -> Planned:
    then = chance.choices(["return", "fail", "fail_once", "cancel", "die_once"], [100, 3, 4, 4, 0.1])[0]
    kind = "chaos" if then == "die_once" else chance.choices(["chaos", "chaos-process", "chaos-steps"], [70, 15, 15])[0]
    length = (
        chance.uniform(3.0, min(20.0, seconds / 2)) if chance.random() < 0.01 else chance.expovariate(1 / MEAN_SECONDS)
    )
    payload = {"ledger": ledger, "seconds": round(length, 3), "then": "return" if then == "cancel" else then}
    return Planned(
        number=number,
        at_seconds=at,
        ends=ENDS.get(then, COMPLETED),
        by_log=chance.random() < 0.3,
        follows=chance.random() < 0.05,
        cancel_after_seconds=chance.expovariate(2.0) if then == "cancel" else None,
        run_after_seconds=chance.uniform(1.0, seconds / 4) if chance.random() < 0.03 else None,
        body={
            "type": kind,
            "payload": payload,
            "tenant": tenant,
            "priority": chance.randint(1, 3),
            "max_retries": RETRIES,
            "timeout": 120,
        },
    )


@dataclass
class Load:
    """Submits what is planned, and notes what was accepted."""

    api_url: str
    bootstrap_servers: str
    tenant: str
    #: How each accepted task may end.
    accepted: dict[str, frozenset[str]] = field(default_factory=dict)
    #: Numbers of tasks that no door took in all that time.
    refused: list[int] = field(default_factory=list)
    _newest: str | None = None

    async def submit(self, planned: list[Planned]) -> None:
        """Every task is accepted in the end, unless its door stays closed."""
        begun = asyncio.get_running_loop().time()
        by_http: asyncio.Queue[Planned | None] = asyncio.Queue()
        by_log: asyncio.Queue[Planned | None] = asyncio.Queue()
        timeout = httpx.Timeout(15.0)
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap_servers, acks="all", enable_idempotence=True, request_timeout_ms=60_000
        )
        await producer.start()
        try:
            async with (
                httpx.AsyncClient(base_url=self.api_url, timeout=timeout, trust_env=False) as client,
                asyncio.TaskGroup() as group,
            ):
                for _ in range(SUBMITTERS):
                    group.create_task(self._over_http(client, by_http))
                    group.create_task(self._to_the_log(producer, by_log))
                for each in planned:
                    await asyncio.sleep(begun + each.at_seconds - asyncio.get_running_loop().time())
                    (by_log if each.by_log else by_http).put_nowait(each)
                for _ in range(SUBMITTERS):
                    by_http.put_nowait(None)
                    by_log.put_nowait(None)
        finally:
            await producer.stop()

    async def _over_http(self, client: httpx.AsyncClient, queue: asyncio.Queue[Planned | None]) -> None:
        """Answers that are no are asked again with the same key."""
        while (each := await queue.get()) is not None:
            with self._door(each):
                headers = {"Idempotency-Key": f"{self.tenant}-{each.number}"}
                body = _body(each) | self._preconditions(each)
                response = await persist(client, "POST", "/api/v1/tasks", json=body, headers=headers)
                assert response.status_code in {200, 202}, response.text
                task_id = response.json()["task_id"]
                self.accepted[task_id] = each.ends
                self._newest = task_id if each.ends == COMPLETED else self._newest
                if each.cancel_after_seconds is not None:
                    await asyncio.sleep(each.cancel_after_seconds)
                    await persist(client, "DELETE", f"/api/v1/tasks/{task_id}")

    async def _to_the_log(self, producer: AIOKafkaProducer, queue: asyncio.Queue[Planned | None]) -> None:
        """A foreign producer with acks=all."""
        while (each := await queue.get()) is not None:
            task_id = f"{self.tenant}-log-{each.number}"
            value = json.dumps(_body(each) | {"id": task_id}).encode()
            with self._door(each):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await producer.send_and_wait(INTAKE, value, key=task_id.encode())
                self.accepted[task_id] = each.ends

    def _preconditions(self, planned: Planned) -> dict[str, object]:
        follows = planned.follows and planned.run_after_seconds is None and self._newest is not None
        return {"depends_on": [self._newest]} if follows else {}

    @contextmanager
    def _door(self, planned: Planned) -> Iterator[None]:
        try:
            yield
        except (TimeoutError, KafkaError):
            self.refused.append(planned.number)


def _body(planned: Planned) -> dict[str, object]:
    body = dict(planned.body)
    if planned.run_after_seconds is not None:
        body["run_at"] = (datetime.now(UTC) + timedelta(seconds=planned.run_after_seconds)).isoformat()
    return body


async def persist(client: httpx.AsyncClient, method: str, url: str, **request: object) -> httpx.Response:
    """The first answer that is neither an outage nor back-pressure."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                response = await client.request(method, url, **request)  # type: ignore[arg-type]  # as httpx takes them
            except httpx.TransportError:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if response.status_code not in {429, 503, 504}:
                return response
            await asyncio.sleep(PAUSE_SECONDS)
