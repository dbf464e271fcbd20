"""How an instance of a model is asked whether it is well."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from agents.engines.local_text import LocalText
from agents.engines.replicas import Probe
from domain.errors import TaskError
from schemas.models import ModelDefinition

_log = logging.getLogger(__name__)


def http_probe(base_url: str, headers: Mapping[str, str], model: ModelDefinition) -> Probe:
    """By GET: any answer below 500 is a sign of life."""
    check = model.health_check

    async def answers() -> bool:
        import httpx

        url = base_url.rstrip("/") + check.path
        try:
            async with httpx.AsyncClient(timeout=check.timeout_seconds, trust_env=False) as client:
                return (await client.get(url, headers=dict(headers))).status_code < 500
        except httpx.HTTPError as error:
            _log.debug("no answer from %s: %s", url, error)
            return False

    return answers


def local_probe(local: LocalText) -> Probe:
    """By its server, which is started anew if need be."""

    async def answers() -> bool:
        try:
            await local.warm_up()
        except TaskError as error:
            _log.debug("a local instance does not start: %s", error)
            return False
        return True

    return answers
