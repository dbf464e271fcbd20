"""Which model serves a task that leaves the choice to us, and where it goes on when its own cannot be had.

Pure: what was measured and the time come in with the question, and the same question has the same answer.
An answer says why, with the figures that decided.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from domain.catalogue import TokenNeed
from schemas.models import AUTO, ModelDefinition, Prices, ProviderDefinition

By = Literal["cost", "speed", "quality"]
#: What a task goes by that asks for `auto` and does not say more.
DEFAULT_BY: Final[By] = "cost"
#: A model that always fails is not infinitely bad: its failures are forgotten in time, and it is tried again.
_ERROR_RATE_MAX = 0.95
#: Seconds of an attempt on a model that nobody has measured, where nobody has measured any.
_SECONDS_UNKNOWN = 1.0
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """How a model has been doing lately, over all workers."""

    #: Median of the attempts that succeeded; None where there were none.
    seconds: float | None = None
    #: Share of attempts that failed by a fault of the provider, 0 to 1.
    error_rate: float = 0.0
    #: Attempts that these figures rest on.
    samples: int = 0
    waiting: int = 0
    running: int = 0
    #: Until when its provider takes no calls, in seconds since 1970: a rate limit, or an open circuit breaker.
    blocked_until: float | None = None
    blocked_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """What there is to choose from."""

    models: Mapping[str, ModelDefinition]
    providers: Mapping[str, ProviderDefinition] = field(default_factory=dict)
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    #: Why nobody may start work on a model now, such as `paused`; None where one may.
    closed: Callable[[ModelDefinition], str | None] = lambda model: None

    def measurement(self, name: str) -> Measurement:
        """Of a model; empty where there is none."""
        return self.measurements.get(name, Measurement())


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a task needs of its model."""

    resource_class: str = "llm"
    by: By = DEFAULT_BY
    need: TokenNeed | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """Where the task goes, and why: a sentence with the figures that decided."""

    model: str
    routing_key: str
    reason: str


@dataclass(frozen=True, slots=True)
class NoRoute:
    """No target can take the task; it stays where it is. The reason is a sentence."""

    reason: str


def choose(
    wish: Wish, market: Market, now: float, *, without: Collection[str] = (), may_wait: bool = True
) -> Route | NoRoute:
    """The best model for the wish; `without` names those that the task has tried. `now` is in seconds since 1970.

    Where all that could serve are blocked for a time, the first to open is chosen, and the task waits there; where all
    are offline or paused, it waits for the best of them. Unless it may not wait: then there is no route.
    """
    models = [each for each in market.models.values() if each.resource_class == wish.resource_class]
    unfit = {each.name: _unfit(each, wish, market, now) for each in models}
    fit = [each for each in models if unfit[each.name] is None and each.name not in without]
    left_out = _left_out(models, unfit, without)
    if fit:
        ranked = _ranked(fit, wish, market)
        return _route(ranked[0].model, f"{AUTO} by {wish.by}: {_said(ranked)}{left_out}")
    able = [each for each in models if each.name not in without and _incapable(each, wish, market) is None]
    if not able or not may_wait:
        return NoRoute(f"no model of class {wish.resource_class} can take the task{left_out or '; none is declared'}")
    if blocked := [each for each in able if _closed(each, market) is None]:
        until, _, model = min((market.measurement(each.name).blocked_until or now, each.name, each) for each in blocked)
        words = f"every model is blocked, {model.name} opens first, in {until - now:.1f} s"
    else:
        model = _ranked(able, wish, market)[0].model
        words = f"every model is closed, it waits for {model.name}"
    return _route(model, f"{AUTO} by {wish.by}: {words}{left_out}")


def fall_back(
    chain: Iterable[str], wish: Wish, market: Market, now: float, *, tried: Collection[str], cause: str
) -> Route | NoRoute:
    """The first target of the chain that the task has not tried and that can serve now; `auto` among them chooses.

    Since nothing is tried twice, every chain ends. `cause` is the sentence that says why the task moves on.
    """
    passed: list[str] = []
    for name in dict.fromkeys(chain):
        if name == AUTO:
            route = choose(wish, market, now, without=tried, may_wait=False)
            if isinstance(route, Route):
                return Route(route.model, route.routing_key, f"{cause}; {route.reason}")
            passed.append(f"{name} ({route.reason})")
        elif name in tried:
            passed.append(f"{name} (tried)")
        elif (model := market.models.get(name)) is None:
            passed.append(f"{name} (not declared)")
        elif obstacle := _unfit(model, wish, market, now):
            passed.append(f"{name} ({obstacle})")
        else:
            skipped = f"; passed over: {', '.join(passed)}" if passed else ""
            return _route(model, f"{cause}; fallback to {name}{skipped}")
    return NoRoute(f"{cause}; no fallback: {', '.join(passed)}" if passed else f"{cause}; no fallback is given")


def price_of(model: ModelDefinition, providers: Mapping[str, ProviderDefinition]) -> Prices | None:
    """The model's own prices, else its provider's; a local model is free; None where nobody said."""
    if model.prices is not None:
        return model.prices
    if model.provider is None:
        return Prices() if model.local else None
    provider = providers.get(model.provider)
    return provider.prices if provider is not None else None


@dataclass(frozen=True, slots=True)
class _Offer:
    model: ModelDefinition
    #: Of the call, retries after failures included; None where no price is known.
    cost: float | None
    #: From now to the answer: the queue before it, the attempt, and retries.
    seconds: float
    quality: float
    measured: Measurement


def _offer(model: ModelDefinition, wish: Wish, market: Market, rivals: list[ModelDefinition]) -> _Offer:
    measured = market.measurement(model.name)
    success = 1 - min(measured.error_rate, _ERROR_RATE_MAX)
    prices, need = price_of(model, market.providers), wish.need or TokenNeed(0, 0)
    cost = None if prices is None else (need.prompt * prices.input + need.answer * prices.output) / _MILLION / success
    seconds = measured.seconds
    if seconds is None:
        # Counted as fast as the fastest, so that it gets measured.
        known = [market.measurement(rival.name).seconds for rival in rivals]
        seconds = min((each for each in known if each is not None), default=_SECONDS_UNKNOWN)
    slots = _slots(model, market, measured)
    ahead = max(0, measured.waiting + measured.running + 1 - slots)
    return _Offer(model, cost, seconds * (1 + ahead / slots) / success, model.quality * success, measured)


def _slots(model: ModelDefinition, market: Market, measured: Measurement) -> int:
    """Attempts that run at a time, as far as anybody said; else as many as run now."""
    provider = market.providers.get(model.provider or "")
    bounds = [model.max_workers, provider.limits.concurrency if provider else None]
    if model.local:
        bounds.append(max(1, len(model.replicas)))
    return min((bound for bound in bounds if bound is not None), default=max(1, measured.running + 1))


def _ranked(models: list[ModelDefinition], wish: Wish, market: Market) -> list[_Offer]:
    return sorted((_offer(each, wish, market, models) for each in models), key=lambda offer: _rank(offer, wish.by))


def _rank(offer: _Offer, by: By) -> tuple[object, ...]:
    cost = (offer.cost is None, offer.cost or 0.0)
    match by:
        case "cost":
            return (*cost, offer.seconds, -offer.quality, offer.model.name)
        case "speed":
            return (offer.seconds, *cost, -offer.quality, offer.model.name)
        case "quality":
            return (-offer.quality, *cost, offer.seconds, offer.model.name)


def _said(ranked: list[_Offer]) -> str:
    first = f"{ranked[0].model.name} ({_figures(ranked[0])})"
    others = [f"{offer.model.name} ({_figures(offer)})" for offer in ranked[1:3]]
    return f"{first} before {', '.join(others)}" if others else f"{first} alone can take it"


def _figures(offer: _Offer) -> str:
    cost = "no price known" if offer.cost is None else f"costs {offer.cost:.6f}"
    seconds = f"{offer.seconds:.2f} s" if offer.measured.seconds is not None else "not measured yet"
    return (
        f"{cost}, {seconds}, quality {offer.model.quality:.2f}, errors {offer.measured.error_rate:.0%}, "
        f"{offer.measured.waiting} waiting"
    )


def _left_out(models: list[ModelDefinition], unfit: Mapping[str, str | None], without: Collection[str]) -> str:
    reasons = {each.name: "tried" if each.name in without else unfit[each.name] for each in models}
    said = [f"{name} ({reason})" for name, reason in sorted(reasons.items()) if reason is not None]
    return f"; left out: {', '.join(said)}" if said else ""


def _unfit(model: ModelDefinition, wish: Wish, market: Market, now: float) -> str | None:
    """Why the model cannot take the task now."""
    if obstacle := _incapable(model, wish, market) or _closed(model, market):
        return obstacle
    measured = market.measurement(model.name)
    if measured.blocked_until is not None and measured.blocked_until > now:
        return f"{measured.blocked_by or 'blocked'} for {measured.blocked_until - now:.1f} s"
    return None


def _incapable(model: ModelDefinition, wish: Wish, market: Market) -> str | None:
    """Why the model will never serve such a task."""
    if model.provider is not None and model.provider not in market.providers:
        return f"its provider {model.provider} is not declared"
    tokens = sum(wish.need) if wish.need is not None else 0
    if model.context_length is not None and tokens > model.context_length:
        return f"takes {model.context_length} tokens, about {tokens} are needed"
    return None


def _closed(model: ModelDefinition, market: Market) -> str | None:
    """Why nothing may start on the model until somebody says so."""
    return "offline" if model.status == "offline" else market.closed(model)


def _route(model: ModelDefinition, reason: str) -> Route:
    return Route(model.name, model.routing_key, reason)
