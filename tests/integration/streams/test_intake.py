"""Intake on a real broker: strangers' records become tasks, or say why not, and nothing blocks."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord

from projections.database import open_engine, reading
from projections.tasks import TaskView, get_task
from schemas.codec import decode, encode
from schemas.events import TaskRejected, TaskSubmitted
from streams import dead_letters, topics
from streams.cluster import Cluster
from streams.intake import GROUP
from streams.log import EventLog, LogUnavailable
from tests.support import foreign
from tests.support.doors import Doors, eventually, records

pytestmark = pytest.mark.external_service


@pytest.fixture
async def doors(kafka: str, database: str) -> Doors:
    """Topics and tables, and nothing at work yet."""
    doors = Doors(kafka, database)
    await doors.prepare()
    return doors


async def produce(kafka: str, *values: bytes | None, key: bytes | None = None, **settings: Any) -> list[str]:
    """Append as a stranger does; the origins of the records."""
    async with AIOKafkaProducer(bootstrap_servers=kafka, max_request_size=4_000_000, **settings) as producer:
        written = [await producer.send_and_wait(topics.INTAKE, value, key=key) for value in values]
    return [f"{each.topic}/{each.partition}/{each.offset}" for each in written]


def echo(tenant: str, /, **more: Any) -> bytes:
    return json.dumps({"type": "echo", "tenant": tenant, "payload": {"text": "x"}} | more).encode()


def of_tenant(tenant: str) -> Callable[[ConsumerRecord], bool]:
    needle = tenant.encode()
    return lambda record: needle in (record.value or b"")


async def submissions(kafka: str, tenant: str) -> list[TaskSubmitted]:
    found = []
    for name in topics.recorded_topics(["doorcpu", "doorio"])[1:]:
        found += [decode(record.value) for record in await records(kafka, name, of_tenant(tenant))]
    return [message for message in found if isinstance(message, TaskSubmitted)]


async def task(database: str, task_id: str) -> TaskView | None:
    engine = open_engine(database, pool_size=1)
    try:
        async with reading(engine) as connection:
            return await get_task(connection, task_id)
    finally:
        await engine.dispose()


def bad_records(tenant: str) -> list[bytes | None]:
    """Fifty ways to be no submission."""
    chance = random.Random(7)
    good = TaskSubmitted(
        task_id="x",
        occurred_at=datetime.now(UTC),
        type="echo",
        resource_class="doorcpu",
        routing_key="x",
        tenant=tenant,
    )
    avro = encode(replace(good, payload='{"text":"x"}'))
    shapes: list[Any] = [[], 7, "text", None, {"payload": {}}, {"type": 7}, {"type": "nobody"}, {"type": "echo"}]
    wrong: list[dict[str, Any]] = [
        {"priority": 9},
        {"timeout": -1},
        {"run_at": "soon"},
        {"max_retries": "many"},
        {"id": "../x"},
        {"tenant": ""},
        {"payload": "x"},
        {"payload": {"text": 7}},
        {"colour": "red"},
        {"callback_url": "nowhere"},
        {"metadata": [1]},
        {"model": 7},
    ]
    return [
        None,
        b"",
        b"{",
        b"\xff" * 50,
        b"[" * 50_000,
        b'{"type":"echo","payload":' + b'{"a":' * 20_000,
        echo(tenant, metadata={"x": "x" * 1_100_000}),
        *(chance.randbytes(chance.randint(1, 200)) for _ in range(10)),
        *(avro[:cut] for cut in (1, 2, 9, 10, 12, 20, len(avro) // 2, len(avro) - 1)),
        *(avro[:10] + chance.randbytes(40) for _ in range(3)),
        encode(replace(good, payload="{")),
        encode(replace(good, run=2, payload='{"text":"x"}')),
        *(json.dumps(shape).encode() for shape in shapes),
        *(echo(tenant, **change) for change in wrong),
    ]


async def test_fifty_bad_records_among_fifty_good_ones(doors: Doors) -> None:
    tenant = f"t{uuid.uuid4().hex}"
    bad = bad_records(tenant)
    assert len(bad) == 50
    mixed = [value for number, each in enumerate(bad) for value in (each, echo(tenant, metadata={"n": number}))]
    async with doors.projector(), doors.intake():
        origins = await produce(doors.kafka, *mixed, key=b"the key")
        rejected = set(origins[::2])

        async def all_there() -> bool:
            return len(await submissions(doors.kafka, tenant)) >= 50

        await eventually(all_there, "fifty tasks")

        def ours(record: ConsumerRecord) -> bool:
            headers = {name: value.decode() for name, value in record.headers}
            places = (dead_letters.TOPIC_HEADER, dead_letters.PARTITION_HEADER, dead_letters.OFFSET_HEADER)
            return "/".join(headers.get(name, "") for name in places) in rejected

        letters = await records(doors.kafka, topics.DEAD_LETTERS, ours)
        facts = [
            fact
            for record in await records(doors.kafka, topics.LIFECYCLE, lambda record: b"tasks-intake/" in record.value)
            if isinstance(fact := decode(record.value), TaskRejected) and fact.origin in rejected
        ]
        assert len(await submissions(doors.kafka, tenant)) == 50
        assert (len(letters), len(facts)) == (50, 50)
        assert {letter.value or b"" for letter in letters} == {value or b"" for value in bad}
        assert {letter.key for letter in letters} == {b"the key"}
        assert all(dict(letter.headers)[dead_letters.REASON_HEADER] for letter in letters)

        async def shown() -> bool:
            view = await task(doors.database, facts[-1].task_id)
            return view is not None and view.status == "rejected"

        await eventually(shown, "a rejection to be readable")


async def test_a_header_name_that_is_not_utf_8_costs_only_its_own_record(doors: Doors) -> None:
    tenant = f"t{uuid.uuid4().hex}"
    sent = [echo(tenant, id=f"{tenant}-{number}") for number in range(4)]
    names = [b"good", b"\xff\xfe", b"good", b"good"]
    odd_one = foreign.batch_of(list(zip(sent, names, strict=True))[:3])
    begin = await foreign.append_batch(doors.kafka, topics.INTAKE, 0, odd_one)
    async with doors.intake():
        await foreign.append_batch(doors.kafka, topics.INTAKE, 0, foreign.batch_of([(sent[3], names[3])]))

        async def all_there() -> bool:
            return len(await submissions(doors.kafka, tenant)) >= 3

        await eventually(all_there, "the good ones around the odd one")
        found = {each.task_id for each in await submissions(doors.kafka, tenant)}
        assert found == {f"{tenant}-{number}" for number in (0, 2, 3)}

        async def committed() -> bool:
            async with Cluster(doors.kafka) as cluster:
                return await cluster.lag(GROUP, [topics.INTAKE]) == 0

        await eventually(committed, "intake to have committed behind them")
    (letter,) = await records(doors.kafka, topics.DEAD_LETTERS, of_tenant(tenant))
    assert letter.value == sent[1]
    headers = dict(letter.headers)
    assert headers[dead_letters.OFFSET_HEADER] == str(begin + 1).encode()
    assert b"UTF-8" in headers[dead_letters.REASON_HEADER]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_compressed_records_are_read(doors: Doors, codec: str) -> None:
    tenant = f"t{uuid.uuid4().hex}"
    async with doors.intake():
        await produce(doors.kafka, echo(tenant), compression_type=codec)

        async def there() -> bool:
            return len(await submissions(doors.kafka, tenant)) == 1

        await eventually(there, f"the task of a {codec} record")


async def test_what_a_producer_takes_back_was_never_submitted(doors: Doors) -> None:
    tenant = f"t{uuid.uuid4().hex}"
    async with doors.intake(), AIOKafkaProducer(bootstrap_servers=doors.kafka, transactional_id=tenant) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topics.INTAKE, echo(tenant, id=f"{tenant}-aborted"), partition=0)
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topics.INTAKE, echo(tenant, id=f"{tenant}-kept"), partition=0)

        async def there() -> bool:
            return bool(await submissions(doors.kafka, tenant))

        await eventually(there, "the committed submission")
        assert [each.task_id for each in await submissions(doors.kafka, tenant)] == [f"{tenant}-kept"]

        async def caught_up() -> bool:
            async with Cluster(doors.kafka) as cluster:
                return await cluster.lag(GROUP, [topics.INTAKE]) == 0

        # The end of a transaction is an offset without a record; it must not look like work left undone.
        await eventually(caught_up, "intake to have passed the end of the transaction")


async def test_avro_and_a_repeated_id(doors: Doors) -> None:
    tenant = f"t{uuid.uuid4().hex}"
    sent = TaskSubmitted(
        task_id=f"{tenant}-1",
        occurred_at=datetime.now(UTC),
        type="echo",
        resource_class="elsewhere",
        routing_key="elsewhere",
        tenant=tenant,
        payload='{"text":"x"}',
    )
    async with doors.projector():
        async with doors.intake():
            await produce(doors.kafka, encode(sent))

            async def projected() -> bool:
                return await task(doors.database, sent.task_id) is not None

            await eventually(projected, "the task to be readable")
        # Another intake process has only the read model to know it by.
        async with doors.intake():
            await produce(doors.kafka, encode(sent), echo(tenant, id=sent.task_id), echo(tenant, id=f"{tenant}-2"))

            async def second() -> bool:
                return len(await submissions(doors.kafka, tenant)) >= 2

            await eventually(second, "the other task")
    first, other = sorted(await submissions(doors.kafka, tenant), key=lambda each: each.task_id)
    assert (first.task_id, first.resource_class, first.event_id) == (sent.task_id, "doorcpu", sent.event_id)
    assert other.task_id == f"{tenant}-2"


async def test_of_two_intakes_one_releases_held_work(doors: Doors) -> None:
    tenant = f"t{uuid.uuid4().hex}"
    async with doors.projector(), doors.intake(), doors.intake(), Cluster(doors.kafka) as cluster:

        async def both() -> bool:
            try:
                return (await cluster.members([GROUP]))[GROUP] == 2
            except LogUnavailable:
                # A broker that has just started knows of no groups.
                return False

        await eventually(both, "two members")
        soon = datetime.now(UTC) + timedelta(seconds=3)
        # The last one is released by a later turn than the others.
        times = [*[soon] * 50, soon + timedelta(seconds=2)]
        await produce(
            doors.kafka,
            *(echo(tenant, run_at=at.isoformat(), id=f"{tenant}-{number}") for number, at in enumerate(times)),
        )

        async def last_one_there() -> bool:
            return f"{tenant}-50" in {each.task_id for each in await submissions(doors.kafka, tenant)}

        await eventually(last_one_there, "the last task to be released")
    # Two that release would both find the tasks due, before the read model shows that they are gone.
    assert len(await submissions(doors.kafka, tenant)) == 51


async def test_held_work_is_shown_released_and_cancelled(doors: Doors) -> None:
    tenant = f"t{uuid.uuid4().hex}"
    soon, later = (datetime.now(UTC) + timedelta(seconds=seconds) for seconds in (3, 3600))
    async with doors.projector(), doors.intake(), doors.api() as client:
        await produce(doors.kafka, echo(tenant, id=f"{tenant}-soon", run_at=soon.isoformat()))
        late = await client.post(
            "/api/v1/tasks",
            json={"type": "echo", "tenant": tenant, "payload": {"text": "x"}, "run_at": later.isoformat()},
        )
        assert (late.status_code, late.json()["status"]) == (202, "held")

        async def held() -> bool:
            listed = await client.get("/api/v1/tasks", params={"tenant": tenant, "status": "held"})
            return bool(listed.json()["total"] == 2)

        await eventually(held, "both tasks to be held")
        assert not await submissions(doors.kafka, tenant)
        assert (await client.delete(late.headers["location"])).status_code == 202
        ended = await client.get(late.headers["location"], params={"wait": 30})
        assert ended.json()["status"] == "cancelled"

        async def released() -> bool:
            return bool(await submissions(doors.kafka, tenant))

        await eventually(released, "the task that was due")
        assert datetime.now(UTC) >= soon
        assert [each.task_id for each in await submissions(doors.kafka, tenant)] == [f"{tenant}-soon"]


async def test_a_full_class_holds_its_own_and_lets_others_pass(doors: Doors) -> None:
    tenant = f"t{uuid.uuid4().hex}"
    small = replace(doors, max_queue_size=5)
    async with doors.projector(), small.intake():
        fetch = json.dumps({"type": "fetch", "tenant": tenant, "payload": {"url": "x"}}).encode()
        await produce(doors.kafka, *(echo(tenant, id=f"{tenant}-{number}") for number in range(9)), fetch)

        async def passed() -> bool:
            return "fetch" in {each.type for each in await submissions(doors.kafka, tenant)}

        await eventually(passed, "the task of the other class")
        names = [f"{tenant}-{number}" for number in range(9)]

        async def shown() -> bool:
            return all([await task(doors.database, name) is not None for name in names])

        await eventually(shown, "all of them to be readable")
        copied = {each.task_id for each in await submissions(doors.kafka, tenant) if each.type == "echo"}
        # What other tests left in the queue counts too, so that it may have been full from the start.
        assert len(copied) <= 5
        for name in set(names) - copied:
            view = await task(doors.database, name)
            assert view is not None
            assert (view.status, view.hold_reason) == ("held", "queue_full")


async def test_a_command_that_nobody_can_read_does_not_stop_the_others(doors: Doors) -> None:
    tenant = f"t{uuid.uuid4().hex}"
    async with EventLog(doors.kafka) as log:
        await log.acknowledged(await log.append(topics.COMMANDS, b"junk", b"key", []))
        await log.acknowledged(await log.append(topics.COMMANDS, None, b"key", []))
    async with doors.intake():
        await produce(doors.kafka, echo(tenant))

        async def there() -> bool:
            return len(await submissions(doors.kafka, tenant)) == 1

        await eventually(there, "the task")
