"""Fixtures that every test may ask for: real services, started once a session and only when asked for."""

import os
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from tests.support.services import embedded_kafka, embedded_postgres


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of a real Apache Kafka; PENSTOCK_TEST_KAFKA names one that runs already."""
    running = os.environ.get("PENSTOCK_TEST_KAFKA")
    if running:
        yield running
        return
    with embedded_kafka(tmp_path_factory.mktemp("kafka")) as bootstrap_servers:
        yield bootstrap_servers


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real PostgreSQL; PENSTOCK_TEST_POSTGRES names one that runs already."""
    running = os.environ.get("PENSTOCK_TEST_POSTGRES")
    if running:
        yield running
        return
    with embedded_postgres(tmp_path_factory.mktemp("postgres")) as uri:
        yield uri


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """The address of an empty database of the test's own."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield postgres.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
