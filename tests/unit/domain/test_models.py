"""What doors know of models: where work meets, and names that nobody defined."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from domain.catalogue import Catalogue, TaskType
from domain.errors import InvalidSubmission
from domain.models import DeclaredModels
from domain.submission import SubmissionDefaults, submitted
from schemas.events import TaskSubmitted
from schemas.models import ModelDefinition

MODELS = {
    "gpt": ModelDefinition(name="gpt", provider="openai"),
    "qwen": ModelDefinition(name="qwen", path="qwen.gguf"),
    "voice": ModelDefinition(name="voice", resource_class="tts", path="v"),
}


class Anything(BaseModel):
    model_config = ConfigDict(extra="allow")


CATALOGUE = Catalogue(
    [
        TaskType("write", "llm", Anything, routed_by_model=True),
        TaskType("embed", "embedding", Anything, routed_by_model=True),
    ]
)


def accept(declared: DeclaredModels, task_type: str = "write", **fields: Any) -> TaskSubmitted:
    return submitted(
        {"type": task_type, **fields},
        CATALOGUE,
        at=datetime(2026, 11, 21, tzinfo=UTC),
        new_id="t1",
        defaults=SubmissionDefaults(models=lambda: declared),
        source="http",
    )


def target(declared: DeclaredModels, task_type: str = "write", **fields: Any) -> tuple[str | None, str]:
    task = accept(declared, task_type, **fields)
    return task.model, task.routing_key


def test_work_meets_at_the_account_of_its_model_or_at_the_local_model() -> None:
    declared = DeclaredModels(MODELS)
    assert target(declared, model="gpt") == ("gpt", "openai")
    assert target(declared, model="qwen") == ("qwen", "qwen")
    assert target(declared, model="auto") == ("auto", "auto")


def test_without_a_name_it_is_the_default() -> None:
    assert target(DeclaredModels(MODELS)) == (None, "default")
    assert target(DeclaredModels(MODELS, default="gpt")) == ("gpt", "openai")
    assert target(DeclaredModels(MODELS, default="auto")) == ("auto", "auto")


def test_the_endpoint_of_the_settings_may_still_be_asked_for_by_its_name() -> None:
    assert target(DeclaredModels(MODELS, of_settings="kimi-latest"), model="kimi-latest") == ("kimi-latest", "default")


def test_where_nothing_is_defined_every_name_goes() -> None:
    assert target(DeclaredModels(), model="whatever") == ("whatever", "whatever")
    assert target(DeclaredModels()) == (None, "default")
    assert target(DeclaredModels(MODELS, default="gpt"), "embed", model="minilm") == ("minilm", "minilm")


@pytest.mark.parametrize(
    ("fields", "pointer", "words"),
    [
        ({"model": "gtp"}, "/model", "there is no model 'gtp'; there are: gpt, qwen, auto"),
        ({"model": "voice"}, "/model", "voice is a model of class tts, the task is of class llm"),
        ({"model": "gpt", "fallbacks": ["qwen", "nix"]}, "/fallbacks/1", "there is no model 'nix'"),
    ],
)
def test_a_name_that_nobody_defined_is_refused(fields: dict[str, Any], pointer: str, words: str) -> None:
    with pytest.raises(InvalidSubmission) as caught:
        accept(DeclaredModels(MODELS), **fields)
    (flaw,) = caught.value.flaws
    assert flaw.pointer == pointer
    assert words in flaw.detail


def test_a_chain_may_end_in_a_choice() -> None:
    assert accept(DeclaredModels(MODELS), model="gpt", fallbacks=["qwen", "auto"]).fallbacks == ("qwen", "auto")
