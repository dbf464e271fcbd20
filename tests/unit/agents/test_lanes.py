"""Which limits are on a task: the provider among them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import BaseModel

from agents.entries import Entry
from agents.handlers.registry import Registry
from agents.lanes import Lanes
from domain.configuration import Configuration
from schemas.models import ModelDefinition, ProviderDefinition


class Nothing(BaseModel):
    """No payload."""


def registry() -> Registry:
    found = Registry()

    async def work(payload: Nothing, ctx: Any) -> None: ...

    found.handler("chat", resource_class="llm", payload=Nothing)(work)
    found.handler("count", resource_class="cpu", payload=Nothing)(work)
    return found


CONFIGURATION = Configuration(
    models={
        "kimi-k2": ModelDefinition(name="kimi-k2", provider="kimi"),
        "local": ModelDefinition(name="local", path="demo"),
    },
    providers={"kimi": ProviderDefinition(name="kimi", preset="kimi")},
)


@pytest.mark.parametrize(
    ("task_type", "model", "endpoint", "provider"),
    [
        ("chat", "kimi-k2", "default", "kimi"),
        ("chat", "local", "default", None),
        ("chat", None, "default", "default"),
        ("chat", "undefined", "default", "default"),
        ("chat", None, None, None),
        ("count", None, "default", None),
        ("no-such-type", None, "default", None),
    ],
)
def test_a_models_provider_is_known_or_is_the_endpoint_of_the_settings(
    task_type: str, model: str | None, endpoint: str | None, provider: str | None
) -> None:
    lanes = Lanes(registry(), CONFIGURATION, endpoint=endpoint)
    entry = SimpleNamespace(
        state=SimpleNamespace(model=model),
        submission=SimpleNamespace(type=task_type, tenant="acme"),
        suspect=False,
    )
    assert lanes.lane_of(cast(Entry, entry)).provider == provider
