"""The embedded services, on the real Apache Kafka and PostgreSQL."""

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from sqlalchemy import create_engine, text

pytestmark = pytest.mark.external_service


async def test_a_record_comes_back_with_the_time_of_its_append(kafka: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic("embedded-roundtrip", num_partitions=1, replication_factor=1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=kafka, enable_idempotence=True) as producer:
        await producer.send_and_wait("embedded-roundtrip", b"value", timestamp_ms=1)
    async with AIOKafkaConsumer("embedded-roundtrip", bootstrap_servers=kafka, auto_offset_reset="earliest") as reader:
        record = await reader.getone()
    assert record.value == b"value"
    assert record.timestamp_type == 1
    assert record.timestamp > 1


def test_a_database_is_empty_and_understood_by_psycopg_and_sqlalchemy(database: str) -> None:
    with psycopg.connect(database) as connection:
        encoding = connection.execute("SHOW server_encoding").fetchone()
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert (encoding, tables) == (("UTF8",), (0,))
    engine = create_engine(database)
    with engine.connect() as sqlalchemy_connection:
        assert sqlalchemy_connection.execute(text("SELECT 1")).scalar_one() == 1
    engine.dispose()
