"""Which limits are on work of certain names."""

from __future__ import annotations

import pytest

from domain.limits.limit import Key, Limit, Scope, limits_on

NAMES: dict[Scope, str | None] = {
    "class": "llm",
    "model": "k2",
    "provider": None,
    "type": "chat",
    "tenant": "acme",
    "node": "here",
}


def test_a_name_wins_over_each_and_each_is_counted_by_itself() -> None:
    limits = {
        ("tenant", "*"): Limit(concurrency=1),
        ("type", "*"): Limit(concurrency=2),
        ("type", "chat"): Limit(concurrency=3),
        ("provider", "*"): Limit(concurrency=4),
    }
    assert list(limits_on(limits, NAMES)) == [
        (Key("tenant", "acme"), Limit(concurrency=1)),
        (Key("type", "chat"), Limit(concurrency=3)),
    ]


def test_permits_are_taken_in_one_order_whatever_the_order_of_the_settings() -> None:
    """Two holders that took them in different orders could wait for one another for ever."""
    limits = {(scope, "*"): Limit(concurrency=1) for scope in ("provider", "model", "class", "node", "type", "tenant")}
    scopes = [key.scope for key, _ in limits_on(limits, {**NAMES, "provider": "kimi"})]
    assert scopes == ["tenant", "type", "node", "class", "model", "provider"]


def test_nothing_is_not_the_same_as_no_limit() -> None:
    assert not Limit()
    assert Limit(concurrency=0)
    with pytest.raises(ValueError, match="below nothing"):
        Limit(tokens_per_minute=-1)
