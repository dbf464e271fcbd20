"""Definitions of models and providers: what is filled in, and what is refused with words that help."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from schemas.models import ModelDefinition, ProviderDefinition, Replica


def refusal(kind: type[ModelDefinition] | type[ProviderDefinition], **fields: object) -> str:
    with pytest.raises(ValidationError) as caught:
        kind.model_validate({"name": "m", **fields})
    return str(caught.value)


def test_a_preset_fills_in_address_and_key() -> None:
    kimi = ProviderDefinition(name="kimi", preset="kimi")
    assert (str(kimi.base_url), kimi.api_key) == ("https://api.moonshot.cn/v1", "env:KIMI_API_KEY")


def test_what_is_given_wins_over_the_preset() -> None:
    other = ProviderDefinition.model_validate({"name": "o", "preset": "openai", "api_key": "env:SECOND_KEY"})
    assert (str(other.base_url), other.api_key) == ("https://api.openai.com/v1", "env:SECOND_KEY")


def test_a_presets_key_is_not_sent_to_another_address() -> None:
    proxy = ProviderDefinition.model_validate({"name": "o", "preset": "openai", "base_url": "http://localhost:9/v1"})
    assert proxy.api_key is None


def test_a_key_in_clear_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValidationError) as caught:
        ProviderDefinition(name="openai", preset="openai", api_key="sk-12345")
    findings = caught.value.errors(include_input=False)
    assert "env:NAME" in findings[0]["msg"]
    assert "sk-12345" not in str(findings)


def test_a_definition_survives_json() -> None:
    model = ModelDefinition(
        name="qwen2-7b", replicas=(Replica(path="a.gguf", weight=3), Replica(path="b.gguf")), fallbacks=("gpt",)
    )
    assert ModelDefinition.model_validate_json(model.model_dump_json()) == model
    provider = ProviderDefinition(name="kimi", preset="kimi")
    assert ProviderDefinition.model_validate_json(provider.model_dump_json()) == provider


def test_work_meets_at_the_account_or_at_the_local_model() -> None:
    assert ModelDefinition(name="gpt", provider="openai").routing_key == "openai"
    local = ModelDefinition(name="qwen", path="q.gguf")
    assert (local.routing_key, local.local) == ("qwen", True)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "give provider, path or replicas"),
        ({"provider": "p", "path": "x.gguf"}, "not both"),
        ({"path": "x.gguf", "replicas": [{"path": "y.gguf"}]}, "either path or replicas"),
        ({"replicas": [{"path": "y.gguf"}, {"base_url": "http://h/v1"}]}, "all files or all endpoints"),
        ({"replicas": [{}]}, "either base_url or path"),
        ({"name": "auto", "provider": "p"}, "reserved"),
        ({"name": "a#1", "provider": "p"}, "pattern"),
        ({"provider": "p", "max_workers": 0}, "greater than 0"),
        ({"provider": "p", "max_workers": 2**63}, "less than or equal to 1000000000"),
    ],
)
def test_a_model_that_nobody_could_serve_is_refused(fields: dict[str, object], words: str) -> None:
    assert words in refusal(ModelDefinition, **fields)


def test_a_provider_needs_an_address() -> None:
    assert "give base_url, or a preset" in refusal(ProviderDefinition)


@pytest.mark.parametrize(
    "headers", [{"X\r\nY": "a"}, {"X": "a\r\nY: b"}, {"": "a"}, {"X": ""}, {"X": "a "}, {"X Y": "a"}]
)
def test_a_header_is_one_line(headers: dict[str, str]) -> None:
    assert "pattern" in refusal(ProviderDefinition, base_url="http://h/v1", headers=headers)


def test_headers_as_providers_want_them() -> None:
    headers = {"X-Team": "search and find", "Authorization": "env:KEY", "x_y": '"{}"'}
    provider = ProviderDefinition.model_validate({"name": "p", "base_url": "http://h/v1", "headers": headers})
    assert provider.headers == headers
