"""What an operator does to the system of a chaos run: nothing that breaks it, in the midst of all that does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx

from tests.chaos.load import persist
from tests.chaos.plan import CLASS, STRATEGIES, Blow, Deed

STEERING = frozenset({Deed.SWITCH, Deed.PAUSE})
PATH = "/api/v1/scheduler"
#: Short enough that tasks of a chaos run yield.
OPTIONS = {"round_robin": {"time_slice_seconds": 0.5}, "fair": {"cost": "seconds"}}


class Operator:
    """Steers by the public door, and asks again where it is closed."""

    def __init__(self, api_url: str, tenant: str) -> None:
        self._api_url, self._tenant = api_url, tenant

    async def steer(self, blow: Blow) -> None:
        """Do what is planned, and undo it where it lasts for a while."""
        async with httpx.AsyncClient(base_url=self._api_url, timeout=15.0, trust_env=False) as client:
            if blow.deed is Deed.SWITCH:
                name = STRATEGIES[blow.which % len(STRATEGIES)]
                body = {"class": CLASS, "strategy": name, "options": OPTIONS.get(name, {})}
                await self._ask(client, "PUT", "/strategy", body)
                return
            subject = {"scope": "tenant", "name": self._tenant}
            await self._ask(client, "POST", "/pause", subject | {"reason": "chaos"})
            try:
                await asyncio.sleep(blow.seconds)
            finally:
                await self._ask(client, "POST", "/resume", subject)

    async def _ask(self, client: httpx.AsyncClient, method: str, path: str, body: Mapping[str, object]) -> None:
        (await persist(client, method, PATH + path, json=body)).raise_for_status()
