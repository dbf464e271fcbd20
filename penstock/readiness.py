"""How the supervisor sees that a role is ready for work."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from penstock.embedded.kafka import is_kafka_ready
from penstock.embedded.postgres import is_postgres_ready
from penstock.installation import RunningSystem
from penstock.plan import RolePlan

#: Asks once, and never raises.
Probe = Callable[[], Awaitable[bool]]

API_TIMEOUT_SECONDS = 2.0


def probe_for(plan: RolePlan, system: RunningSystem, ready_file: Path) -> Probe:
    """A service is asked by its own protocol, the API by its own `/ready`; every other role leaves a file."""

    async def kafka() -> bool:
        return await is_kafka_ready(system.bootstrap_servers)

    async def postgres() -> bool:
        return await is_postgres_ready(system.database_url)

    async def api() -> bool:
        return await is_api_ready(system.api_url)

    async def file() -> bool:
        return ready_file.exists()  # noqa: ASYNC240 - one stat call does not block

    return {"kafka": kafka, "postgres": postgres, "api": api}.get(plan.name, file)


async def is_api_ready(api_url: str) -> bool:
    """Whether the API says that tasks can run."""
    try:
        # Straight to our own process: a proxy for the outer world has no part in it.
        async with httpx.AsyncClient(timeout=API_TIMEOUT_SECONDS, trust_env=False) as client:
            return (await client.get(f"{api_url}/ready")).is_success
    except httpx.HTTPError:
        return False
