"""One whole system, started as a user starts it, for all acceptance tests of a session."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from penstock.installation import RunningSystem
from penstock.started import started

#: Retries are quick, so that a test of them takes seconds; otherwise as installed.
ENVIRONMENT = {
    "PENSTOCK_HANDLERS": "tests.support.user_functions",
    "PENSTOCK_CLASSES": json.dumps({"cpu": {"slots": 8}, "io": {"slots": 8}}),
    "PENSTOCK_RETRY_DELAY_SECONDS": "0.2",
    "PENSTOCK_MAX_QUEUE_SIZE": "20000",
}


@pytest.fixture(scope="session")
def data_dir(services_dir: Path) -> Path:
    """The data folder of the session's system."""
    return services_dir / "system"


@pytest.fixture(scope="session")
def system(data_dir: Path) -> Iterator[RunningSystem]:
    """A ready system."""
    output_path = data_dir.parent / "up.out"
    with output_path.open("w") as output, started(data_dir, environment=ENVIRONMENT, output=output) as running:
        yield running


@pytest.fixture
def http(system: RunningSystem) -> Iterator[httpx.Client]:
    """A caller of the API; it repeats a connection that a restarting role refuses."""
    transport = httpx.HTTPTransport(retries=5)
    with httpx.Client(base_url=system.api_url, timeout=60, trust_env=False, transport=transport) as client:
        yield client
