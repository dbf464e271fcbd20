"""Models and providers in the settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from agents.handlers.settings import LlmSettings

DOCUMENT = Path(__file__).parents[4] / "docs" / "routing.md"
PROVIDER = {"name": "p", "preset": "openai"}
MODEL = {"name": "m", "provider": "p"}


def test_the_documents_example_is_one() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    settings = LlmSettings.model_validate(yaml.safe_load(example)["llm"])
    assert [model.name for model in settings.models] == ["kimi-latest", "qwen", "small", "pair"]
    assert [model.routing_key for model in settings.models] == ["kimi", "house", "small", "pair"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"models": [MODEL]}, "no provider p is defined, though models name it"),
        ({"models": [MODEL, MODEL], "providers": [PROVIDER]}, "model m is defined twice"),
        ({"providers": [PROVIDER, PROVIDER]}, "provider p is defined twice"),
    ],
)
def test_definitions_that_do_not_fit_together_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        LlmSettings.model_validate(fields)


@pytest.mark.parametrize(
    ("fields", "default"),
    [
        ({}, "auto"),
        ({"base_url": "http://h/v1", "model": "gpt"}, None),
        ({"model_path": "m.gguf"}, None),
        ({"models": [MODEL], "providers": [PROVIDER]}, "auto"),
        ({"models": [MODEL], "providers": [PROVIDER], "model": "m"}, "m"),
        ({"models": [MODEL], "providers": [PROVIDER], "model_path": "m.gguf"}, None),
    ],
)
def test_what_a_task_without_a_model_gets(fields: dict[str, Any], default: str | None) -> None:
    assert LlmSettings.model_validate(fields).default_model == default
