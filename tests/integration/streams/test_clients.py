"""Clients of Kafka that are cut off, or cannot start: nothing of them stays open."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from penstock.processes import free_port
from streams import clients, history, topics

pytestmark = pytest.mark.external_service

CLIENTS = (AIOKafkaConsumer, AIOKafkaProducer, AIOKafkaAdminClient)


class Connections:
    """Every connection that is made, and the moment at which the first one asks for metadata."""

    def __init__(self) -> None:
        self.made: list[AIOKafkaConnection] = []
        self.asked = asyncio.Event()

    @property
    def open(self) -> list[AIOKafkaConnection]:
        """Those that nobody has closed."""
        return [each for each in self.made if each.connected()]


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Connections:
    """Kept alive here, so that the garbage collector does not close them."""
    found = Connections()
    connect, send = AIOKafkaConnection.connect, AIOKafkaConnection.send

    async def connecting(self: AIOKafkaConnection) -> Any:
        found.made.append(self)
        return await connect(self)

    def sending(self: AIOKafkaConnection, request: Any, expect_response: bool = True) -> Any:
        if isinstance(request, MetadataRequest):
            found.asked.set()
        return send(self, request, expect_response)

    monkeypatch.setattr(AIOKafkaConnection, "connect", connecting)
    monkeypatch.setattr(AIOKafkaConnection, "send", sending)
    return found


@pytest.mark.parametrize("kind", CLIENTS)
async def test_one_that_is_cut_off_while_it_connects_is_closed(kafka: str, connections: Connections, kind: Any) -> None:
    starting = asyncio.create_task(clients.start(kind(bootstrap_servers=kafka)))
    await connections.asked.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert connections.made
    assert not connections.open


@pytest.mark.parametrize("kind", CLIENTS)
async def test_one_that_finds_no_broker_says_so_and_is_closed(kind: Any) -> None:
    """An unclosed client would warn, and warnings are errors here."""
    with pytest.raises(KafkaConnectionError):
        async with clients.running(kind(bootstrap_servers=f"127.0.0.1:{free_port()}")):
            pytest.fail("there is no broker")


async def test_a_reader_that_is_cut_off_is_closed(kafka: str, connections: Connections) -> None:
    async def read() -> None:
        async with history.reader(kafka, [topics.LIFECYCLE]):
            await asyncio.Event().wait()

    reading = asyncio.create_task(read())
    await connections.asked.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not connections.open
