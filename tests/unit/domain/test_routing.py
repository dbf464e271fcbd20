"""Routing: the best model by what was measured, reasons with figures, and chains of fallbacks that end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.catalogue import TokenNeed
from domain.routing import Market, Measurement, NoRoute, Route, Wish, choose, fall_back, price_of
from schemas.models import ModelDefinition, Prices, ProviderDefinition, RateLimits

NOW = 1000.0
PROVIDERS = {
    "kimi": ProviderDefinition(name="kimi", preset="kimi", prices=Prices(input=12, output=12)),
    "openai": ProviderDefinition(name="openai", preset="openai", limits=RateLimits(concurrency=2)),
}
NEED = TokenNeed(1000, 500)


def model(name: str, provider: str | None = "openai", **fields: Any) -> ModelDefinition:
    where = {"path": f"{name}.gguf"} if provider is None else {"provider": provider}
    return ModelDefinition.model_validate({"name": name, **where, **fields})


def market(*models: ModelDefinition, **measured: Measurement) -> Market:
    return Market(models={each.name: each for each in models}, providers=PROVIDERS, measurements=measured)


def chosen(by: Any, of: Market, **more: Any) -> str:
    route = choose(Wish(by=by, need=NEED), of, NOW, **more)
    assert isinstance(route, Route)
    return route.model


CHEAP = model("cheap", prices=Prices(input=1, output=2), quality=0.4)
DEAR = model("dear", prices=Prices(input=10, output=30), quality=0.9)
FREE = model("free", None, quality=0.1)
MEASURED = {
    "cheap": Measurement(seconds=2.0, samples=9),
    "dear": Measurement(seconds=0.5, samples=9),
    "free": Measurement(seconds=9.0, samples=9),
}


def test_each_wish_has_its_own_winner() -> None:
    there = market(CHEAP, DEAR, FREE, **MEASURED)
    assert [chosen(by, there) for by in ("cost", "speed", "quality")] == ["free", "dear", "dear"]
    assert chosen("cost", there, without={"free"}) == "cheap"


def test_the_reason_has_the_figures() -> None:
    route = choose(Wish(by="cost", need=NEED), market(CHEAP, DEAR, **MEASURED), NOW)
    assert isinstance(route, Route)
    assert route.routing_key == "openai"
    assert route.reason == (
        "auto by cost: cheap (costs 0.002000, 2.00 s, quality 0.40, errors 0%, 0 waiting) "
        "before dear (costs 0.025000, 0.50 s, quality 0.90, errors 0%, 0 waiting)"
    )


def test_a_queue_makes_a_fast_model_slow() -> None:
    busy = Measurement(seconds=0.5, samples=9, waiting=40, running=2)
    assert chosen("speed", market(CHEAP, DEAR, cheap=MEASURED["cheap"], dear=busy)) == "cheap"


def test_failures_make_a_model_dearer_slower_and_worse() -> None:
    failing = Measurement(seconds=0.5, samples=9, error_rate=0.9)
    for by in ("speed", "quality"):
        assert chosen(by, market(CHEAP, DEAR, cheap=MEASURED["cheap"], dear=failing)) == "cheap"


def test_what_nobody_measured_is_tried() -> None:
    assert chosen("speed", market(CHEAP, FREE, cheap=MEASURED["cheap"])) == "free"


def test_an_unknown_price_is_no_bargain() -> None:
    assert chosen("cost", market(model("unknown"), DEAR)) == "dear"
    assert price_of(model("m", "kimi"), PROVIDERS) == Prices(input=12, output=12)
    assert price_of(model("m"), PROVIDERS) is None
    assert price_of(FREE, PROVIDERS) == Prices()


def test_models_that_cannot_serve_are_left_out_and_the_reason_says_so() -> None:
    blocked = Measurement(blocked_until=NOW + 12, blocked_by="rate limited")
    there = Market(
        models={
            each.name: each
            for each in (
                model("off", status="offline"),
                model("small", context_length=1000),
                model("stopped"),
                model("limited"),
                model("orphan", "nobody"),
                DEAR,
            )
        },
        providers=PROVIDERS,
        measurements={"limited": blocked},
        closed=lambda each: "paused" if each.name == "stopped" else None,
    )
    route = choose(Wish(need=NEED), there, NOW)
    assert isinstance(route, Route)
    assert route.model == "dear"
    assert route.reason.endswith(
        "left out: limited (rate limited for 12.0 s), off (offline), orphan (its provider nobody is not declared), "
        "small (takes 1000 tokens, about 1500 are needed), stopped (paused)"
    )


def test_another_class_is_none_of_its_business() -> None:
    assert isinstance(choose(Wish(), market(model("voice", resource_class="tts")), NOW), NoRoute)


def test_where_all_are_blocked_it_waits_for_the_first_to_open() -> None:
    there = market(CHEAP, DEAR, cheap=Measurement(blocked_until=NOW + 60), dear=Measurement(blocked_until=NOW + 5))
    route = choose(Wish(), there, NOW)
    assert isinstance(route, Route)
    assert route.model == "dear"
    assert route.reason.startswith(
        "auto by cost: every model is blocked, dear opens first, in 5.0 s; left out: cheap ("
    )


def test_a_block_that_is_over_is_none() -> None:
    assert chosen("quality", market(CHEAP, DEAR, dear=Measurement(blocked_until=NOW))) == "dear"


def test_nothing_to_choose_from_is_said() -> None:
    answer = choose(Wish(need=NEED), market(model("small", context_length=9)), NOW)
    assert answer == NoRoute(
        "no model of class llm can take the task; left out: small (takes 9 tokens, about 1500 are needed)"
    )
    assert choose(Wish(), market(), NOW) == NoRoute("no model of class llm can take the task; none is declared")


def test_where_all_are_offline_it_waits_for_the_best_of_them() -> None:
    there = market(model("worse", status="offline", quality=0.1), model("better", status="offline", quality=0.2))
    route = choose(Wish(by="quality"), there, NOW)
    assert isinstance(route, Route)
    assert route.model == "better"
    assert route.reason.startswith("auto by quality: every model is closed, it waits for better; left out: ")


@given(st.permutations([CHEAP, DEAR, FREE, model("cheap2", prices=Prices(input=1, output=2), quality=0.4)]))
def test_the_order_of_declaration_does_not_matter(models: list[ModelDefinition]) -> None:
    for by in ("cost", "speed", "quality"):
        assert chosen(by, market(*models)) == chosen(by, market(*sorted(models, key=lambda each: each.name)))


def test_a_chain_goes_to_the_first_that_can() -> None:
    there = market(CHEAP, model("off", status="offline"), DEAR)
    route = fall_back(["off", "nobody", "cheap", "dear"], Wish(), there, NOW, tried={"dear"}, cause="429")
    assert route == Route(
        "cheap", "openai", "429; fallback to cheap; passed over: off (offline), nobody (not declared)"
    )


def test_a_chain_may_end_in_a_choice() -> None:
    route = fall_back(["dear", "auto"], Wish(by="quality"), market(CHEAP, DEAR), NOW, tried={"dear"}, cause="401")
    assert isinstance(route, Route)
    assert route.model == "cheap"
    assert route.reason.startswith("401; auto by quality: cheap")


@pytest.mark.parametrize("chain", [[], ["cheap"]])
def test_no_way_out_is_said(chain: list[str]) -> None:
    answer = fall_back(chain, Wish(), market(CHEAP), NOW, tried={"cheap"}, cause="503")
    assert isinstance(answer, NoRoute)
    assert answer.reason.startswith("503; no fallback")


NAMES = st.sampled_from(["cheap", "dear", "free", "auto", "nobody"])


@given(st.lists(NAMES, max_size=8), NAMES)
def test_no_chain_is_a_loop(chain: list[str], first: str) -> None:
    there, tried = market(CHEAP, DEAR, FREE), [first]
    for _ in range(10):
        route = fall_back(chain, Wish(), there, NOW, tried=tried, cause="failed")
        if isinstance(route, NoRoute):
            break
        assert route.model not in tried
        tried.append(route.model)
    else:
        raise AssertionError("never ended")
