"""Fixtures that every test may ask for: real services, started once a session and only when asked for."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from psycopg import sql
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.support.services import embedded_kafka, embedded_postgres


@pytest.fixture(scope="session")
def services_dir() -> Iterator[Path]:
    """A folder for services; not pytest's own, which every new session closes to other users, PostgreSQL's included."""
    with TemporaryDirectory(prefix="penstock-test-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def kafka(services_dir: Path) -> Iterator[str]:
    """The bootstrap address of a real Apache Kafka; PENSTOCK_TEST_KAFKA names one that runs already."""
    running = os.environ.get("PENSTOCK_TEST_KAFKA")
    if running:
        yield running
        return
    with embedded_kafka(services_dir / "kafka") as bootstrap_servers:
        yield bootstrap_servers


@pytest.fixture(scope="session")
def postgres(services_dir: Path) -> Iterator[str]:
    """The address of a real PostgreSQL; PENSTOCK_TEST_POSTGRES names one that runs already."""
    running = os.environ.get("PENSTOCK_TEST_POSTGRES")
    if running:
        yield running
        return
    with embedded_postgres(services_dir / "postgres") as uri:
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


#: Folders of tests, in the order in which they run: what is quick fails first, and the whole system of the acceptance
#: tests does not run beside the others.
LEVELS = ("unit", "integration", "acceptance")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the tests by their level; within one they keep their order."""

    def level(item: pytest.Item) -> int:
        folder = item.path.relative_to(config.rootpath / "tests").parts[0]
        return LEVELS.index(folder) if folder in LEVELS else 0

    items.sort(key=level)


class InOrder(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives out files as they stand; the acceptance tests, which share one system, to one process."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return LEVELS[-1] if file.startswith(f"tests/{LEVELS[-1]}/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> InOrder:
    """How `make test` shares the tests among its processes."""
    config.option.loadscopereorder = False
    return InOrder(config, log)
