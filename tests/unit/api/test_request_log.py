"""One line about each request, and which of them an operator sees."""

import httpx
import pytest
from structlog.testing import capture_logs

from tests.support.memory_world import MemoryWorld


@pytest.mark.parametrize("down", [False, True])
async def test_probes_are_told_at_debug_level_only(client: httpx.AsyncClient, world: MemoryWorld, down: bool) -> None:
    """Whoever waits for readiness asks several times a second, and is answered 503 until then."""
    world.broker.down = down
    with capture_logs() as lines:
        assert (await client.get("/ready")).status_code == (503 if down else 200)
        assert (await client.get("/health")).status_code == 200
    seen = [(line["path"], line["log_level"]) for line in lines if line["event"] == "request"]
    assert seen == [("/ready", "debug"), ("/health", "debug")]


async def test_other_requests_are_told_at_info_level(client: httpx.AsyncClient) -> None:
    with capture_logs() as lines:
        await client.get("/api/v1/tasks/absent")
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["log_level"], line["method"], line["path"], line["status"]) == (
        "info",
        "GET",
        "/api/v1/tasks/absent",
        404,
    )
