"""The fold of the configuration: what was said last counts, whatever cannot be understood is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.configuration import SETTINGS_NUMBERS_FROM, Configuration, InvalidChange, apply
from domain.limits.limit import Limit
from domain.strategies.choice import StrategyChoice
from schemas import configuration as changes
from schemas.configuration import ConfigurationEvent
from schemas.models import ModelDefinition, ProviderDefinition, RateLimits

AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
BASE: dict[str, Any] = {"change_id": "c", "changed_at": AT, "changed_by": "operator"}
QWEN = ModelDefinition(name="qwen", path="qwen.gguf", max_workers=2)
KIMI = ProviderDefinition(name="kimi", preset="kimi", limits=RateLimits(requests_per_minute=200))


def folded(*events: ConfigurationEvent, first: Configuration | None = None) -> Configuration:
    return reduce(apply, events, first or Configuration())


def select(resource_class: str, strategy: str, **options: object) -> changes.StrategySelected:
    return changes.StrategySelected(
        **BASE, resource_class=resource_class, strategy=strategy, options=json.dumps(options)
    )


def limit(scope: str, name: str, concurrency: int | None = None) -> changes.LimitSet:
    return changes.LimitSet(**BASE, scope=scope, name=name, concurrency=concurrency)


def pause(scope: str, name: str, *, drain: bool = False) -> changes.DispatchPaused:
    return changes.DispatchPaused(**BASE, scope=scope, name=name, drain=drain, reason="new driver")


def define(model: ModelDefinition) -> changes.ModelDefined:
    return changes.ModelDefined(**BASE, name=model.name, definition=model.model_dump_json())


def test_a_strategy_is_chosen_for_one_class() -> None:
    after = folded(select("llm", "fair", cost="seconds"))
    assert after.strategy_of("llm") == StrategyChoice("fair", {"cost": "seconds"})
    assert after.strategy_of("cpu") == StrategyChoice("priority")


def test_the_settings_give_the_first_word_and_changes_the_last() -> None:
    first = Configuration(strategies={"llm": StrategyChoice("fifo"), "cpu": StrategyChoice("fifo")})
    after = folded(select("llm", "deadline"), first=first)
    assert (after.strategy_of("llm").name, after.strategy_of("cpu").name) == ("deadline", "fifo")


def test_a_limit_without_numbers_is_gone() -> None:
    two, three = limit("tenant", "a", 2), limit("tenant", "a", 3)
    assert folded(two, three).limits == {("tenant", "a"): Limit(concurrency=3)}
    assert folded(two, limit("tenant", "a")).limits == {}


def test_definitions_of_models_and_providers_limit_too_until_a_limit_is_set() -> None:
    provider = changes.ProviderDefined(**BASE, name="kimi", definition=KIMI.model_dump_json())
    after = folded(define(QWEN), provider)
    assert after.limits == {
        ("model", "qwen"): Limit(concurrency=2),
        ("provider", "kimi"): Limit(requests_per_minute=200),
    }
    assert folded(limit("model", "qwen", 7), first=after).limits["model", "qwen"].concurrency == 7


@pytest.mark.parametrize("scope", ["class", "model", "tenant"])
def test_a_pause_holds_until_it_is_resumed(scope: str) -> None:
    task = ("llm", "qwen", "newsroom")
    name = dict(zip(("class", "model", "tenant"), task, strict=True))[scope]
    paused = folded(pause(scope, name, drain=True))
    found = paused.pause_of(*task)
    assert found is not None
    assert (found.scope, found.name, found.drain, found.reason, found.paused_at) == (
        *(scope, name, True, "new driver", AT),
    )
    assert paused.pause_of("cpu", None, "others") is None
    assert folded(changes.DispatchResumed(**BASE, scope=scope, name=name), first=paused).pause_of(*task) is None


def test_an_offline_model_is_one_that_was_said_to_be() -> None:
    offline = changes.ModelStatusSet(**BASE, name="qwen", status="offline")
    after = folded(define(QWEN), offline)
    assert not after.online("qwen")
    assert after.online("another")
    assert after.online(None)
    assert folded(changes.ModelStatusSet(**BASE, name="qwen", status="online"), first=after).online("qwen")
    assert folded(offline).models == {}


def test_models_have_numbers_that_are_never_given_again() -> None:
    other = ModelDefinition(name="other", path="b.gguf")
    after = folded(define(QWEN), changes.ModelRemoved(**BASE, name="qwen"), define(other), define(QWEN))
    assert (after.number_of("qwen"), after.number_of("other")) == (1, 2)
    assert after.model_named("2") == after.model_named("other") == other
    assert after.model_named("3") is None


def test_a_model_of_the_settings_keeps_its_number_whatever_else_they_define() -> None:
    alone = Configuration(models={"qwen": QWEN})
    beside = Configuration(models={"a": ModelDefinition(name="a", path="a.gguf"), "qwen": QWEN})
    assert alone.number_of("qwen") == beside.number_of("qwen") > SETTINGS_NUMBERS_FROM
    assert beside.model_named(str(beside.number_of("qwen"))) == QWEN


def test_a_removed_model_is_not_there() -> None:
    assert folded(define(QWEN), changes.ModelRemoved(**BASE, name="qwen")).model_named("qwen") is None


def test_a_weight_is_1_unless_it_was_said() -> None:
    after = folded(changes.TenantWeighted(**BASE, tenant="newsroom", weight=2.5))
    assert (after.weight_of("newsroom"), after.weight_of("others")) == (2.5, 1.0)


def test_a_schedule_comes_and_goes() -> None:
    defined = changes.ScheduleDefined(
        **BASE, schedule_id="s", cron="0 2 * * *", time_zone="UTC", submission="{}", catch_up="none"
    )
    after = folded(defined)
    assert (after.schedules["s"].cron, after.schedules["s"].defined_at) == ("0 2 * * *", AT)
    assert folded(changes.ScheduleRemoved(**BASE, schedule_id="s"), first=after).schedules == {}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (select("llm", "fairest"), "no strategy 'fairest'"),
        (select("llm", "fair", quantum="much"), "quantum"),
        (changes.StrategySelected(**BASE, resource_class="llm", strategy="fair", options="[1]"), "JSON object"),
        (changes.StrategySelected(**BASE, resource_class="llm", strategy="fair", options="{"), "Expecting"),
        (limit("galaxy", "a", 2), "no limit by 'galaxy'"),
        (limit("tenant", "a", -1), "below nothing"),
        (pause("galaxy", "a"), "nothing is paused by 'galaxy'"),
        (changes.TenantWeighted(**BASE, tenant="a", weight=0.0), "no share"),
        (changes.TenantWeighted(**BASE, tenant="a", weight=float("nan")), "no share"),
        (changes.ModelDefined(**BASE, name="m", definition='{"name": "m", "wings": 2}'), "model 'm' cannot be read"),
        (changes.ProviderDefined(**BASE, name="p", definition="{}"), "provider 'p' cannot be read"),
        (changes.ModelStatusSet(**BASE, name="m", status="asleep"), "cannot be 'asleep'"),
    ],
)
def test_what_cannot_be_understood_is_refused(change: ConfigurationEvent, says: str) -> None:
    with pytest.raises(InvalidChange, match=says):
        folded(change)


def test_a_key_in_clear_is_not_repeated_by_a_refusal() -> None:
    definition = json.dumps({"name": "p", "preset": "openai", "api_key": "sk-12345"})
    with pytest.raises(InvalidChange) as refused:
        folded(changes.ProviderDefined(**BASE, name="p", definition=definition))
    assert "sk-12345" not in str(refused.value)


CHANGES: st.SearchStrategy[ConfigurationEvent] = st.one_of(
    st.builds(select, st.sampled_from("ab"), st.sampled_from(["fifo", "fair"])),
    st.builds(limit, st.sampled_from(["class", "tenant"]), st.sampled_from("ab"), st.none() | st.integers(0, 3)),
    st.builds(pause, st.sampled_from(["class", "tenant"]), st.sampled_from("ab"), drain=st.booleans()),
    st.builds(
        changes.DispatchResumed,
        change_id=st.just("c"),
        changed_at=st.just(AT),
        scope=st.sampled_from(["class", "tenant"]),
        name=st.sampled_from("ab"),
    ),
)


@given(st.lists(CHANGES, max_size=12))
def test_only_the_last_word_on_each_subject_counts(history: list[ConfigurationEvent]) -> None:
    """So that a registry may be read from anywhere that still has the last word on everything."""
    last = {change.subject: change for change in history}
    assert folded(*last.values()) == folded(*history)


@given(st.lists(CHANGES, max_size=12))
def test_a_repeated_change_changes_nothing(history: list[ConfigurationEvent]) -> None:
    assert folded(*[change for change in history for _ in range(2)]) == folded(*history)
