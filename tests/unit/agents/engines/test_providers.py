"""Connections to providers: secrets are looked up when they are needed, and protocols may be plug-ins."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest
from pydantic import HttpUrl

from agents.engines import providers, text_models
from agents.engines.openai_text import OpenAIText
from agents.engines.providers import connect, connection_to
from agents.engines.text_models import TextModels
from agents.handlers.settings import LlmSettings
from domain.errors import TaskError
from domain.key_grants import WELL_KNOWN, KeyGrants
from schemas.models import ModelDefinition, ProviderDefinition

HOUSE = ProviderDefinition.model_validate(
    {"name": "house", "base_url": "http://h/v1", "api_key": "env:HOUSE_KEY", "headers": {"X-Team": "env:TEAM"}}
)
GRANTS = KeyGrants.of({"HOUSE_KEY": ["http://h"], "TEAM": ["http://h"]})


def test_secrets_are_read_from_the_environment_when_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_KEY", "k")
    monkeypatch.setenv("TEAM", "search")
    connection = connection_to(HOUSE, "gpt", GRANTS)
    assert (connection.api_key, connection.headers) == ("k", {"X-Team": "search"})


def test_a_missing_secret_is_named_and_another_provider_may_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOUSE_KEY", raising=False)
    monkeypatch.setenv("TEAM", "search")
    with pytest.raises(TaskError, match="HOUSE_KEY") as caught:
        connection_to(HOUSE, "gpt", GRANTS)
    assert caught.value.code == "provider_not_configured"


@pytest.mark.parametrize("base_url", ["http://evil/v1", "https://h/v1", "http://h:8080/v1", "http://h@evil/v1"])
def test_a_key_goes_nowhere_but_where_the_operator_sends_it(monkeypatch: pytest.MonkeyPatch, base_url: str) -> None:
    monkeypatch.setenv("HOUSE_KEY", "k")
    elsewhere = HOUSE.model_copy(update={"base_url": HttpUrl(base_url)})
    with pytest.raises(TaskError, match=r"HOUSE_KEY may not be sent to http.*PENSTOCK_PROVIDER_KEYS") as caught:
        connection_to(elsewhere, "gpt", GRANTS)
    assert (caught.value.code, caught.value.retryable) == ("provider_key_refused", False)
    with pytest.raises(TaskError, match="HOUSE_KEY may not be sent"):
        connection_to(HOUSE, "gpt", GRANTS, base_url=HttpUrl(base_url))
    with pytest.raises(TaskError, match="HOUSE_KEY may not be sent"):
        connection_to(None, "gpt", GRANTS, base_url=HttpUrl(base_url), api_key="env:HOUSE_KEY")


def test_a_header_is_as_secret_as_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_KEY", "k")
    monkeypatch.setenv("TEAM", "search")
    with pytest.raises(TaskError, match="TEAM may not be sent to http://h:"):
        connection_to(HOUSE, "gpt", KeyGrants.of({"HOUSE_KEY": ["http://h"]}))


def test_whether_a_variable_is_set_is_not_told_to_who_may_not_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said = set[str]()
    for name in ("HOUSE_KEY", "ANOTHER"):
        monkeypatch.delenv("HOUSE_KEY", raising=False)
        monkeypatch.setenv(name, "k")
        with pytest.raises(TaskError) as caught:
            connection_to(HOUSE, "gpt", KeyGrants.of(WELL_KNOWN))
        said.add(f"{caught.value.code} {caught.value}")
    assert len(said) == 1


def test_a_protocol_of_somebody_elses_is_a_plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("smoke", f"{__name__}:smoke_signals", providers.ENTRY_POINT_GROUP)
    monkeypatch.setattr(providers, "entry_points", lambda **asked: [point] if asked["name"] == "smoke" else [])
    monkeypatch.setattr(EntryPoint, "load", lambda point: smoke_signals)
    connection = connection_to(ProviderDefinition(name="hill", protocol="smoke"), "gpt", GRANTS)
    assert connect(connection, "smoke") == ("smoke", "gpt")  # type: ignore[comparison-overlap]  # stands for a model
    with pytest.raises(TaskError, match="no plug-in speaks 'drums'"):
        connect(connection, "drums")


def test_a_plug_in_that_knows_its_address_is_granted_keys_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILL_KEY", "k")
    hill = ProviderDefinition(name="hill", protocol="smoke", api_key="env:HILL_KEY")
    with pytest.raises(TaskError, match="HILL_KEY may not be sent to protocol:smoke"):
        connection_to(hill, "gpt", GRANTS)
    assert connection_to(hill, "gpt", KeyGrants.of({"HILL_KEY": ["protocol:smoke"]})).api_key == "k"


def smoke_signals(connection: providers.Connection) -> Any:
    return "smoke", connection.model


def model(**fields: Any) -> ModelDefinition:
    return ModelDefinition.model_validate({"name": "m", "provider": "p", **fields})


PROVIDER = ProviderDefinition.model_validate({"name": "p", "base_url": "http://h/v1"})


async def test_only_what_is_reached_otherwise_is_opened_anew() -> None:
    models = TextModels(LlmSettings(models=(model(),), providers=(PROVIDER,)))
    before = models.get("m").text
    models.configure({"m": model(status="offline", quality=0.9, max_tokens=7)}, {"p": PROVIDER})
    assert models.get("m").text is before
    assert models.get("m").max_tokens == 7
    models.configure({"m": model(served_as="gpt-5")}, {"p": PROVIDER})
    assert models.get("m").text is not before
    await models.close()


async def test_a_name_that_nobody_defined_is_asked_of_the_settings_endpoint_only_where_there_are_no_models() -> None:
    endpoint = LlmSettings(base_url="http://h/v1", model="gpt")
    alone = TextModels(endpoint)
    assert isinstance(alone.get("whatever").text, OpenAIText)
    with_models = TextModels(endpoint.model_copy(update={"models": (model(),), "providers": (PROVIDER,)}))
    assert isinstance(with_models.get("gpt").text, OpenAIText)
    assert isinstance(with_models.get(None).text, OpenAIText)
    with pytest.raises(TaskError, match="there is no model 'whatever'; there are: m"):
        with_models.get("whatever")
    with pytest.raises(TaskError, match="no model can take the task now"):
        with_models.get("auto")


async def test_the_client_is_loaded_once_as_soon_as_there_are_models(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = 0

    async def load() -> None:
        nonlocal loads
        loads += 1

    monkeypatch.setattr(text_models, "load_client", load)
    models = TextModels(LlmSettings())
    models.configure({}, {})
    models.configure({"m": model()}, {"p": PROVIDER})
    models.configure({"m": model(quality=0.9)}, {"p": PROVIDER})
    await models.close()
    assert loads == 1
    none = TextModels(LlmSettings())
    none.configure({}, {})
    await none.close()
    assert loads == 1
