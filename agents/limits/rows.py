"""Rows of the table of leases, by the names of their columns, as the rule sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domain.limits.bucket import Bucket
from domain.limits.exchange import Block, Buckets, Lease
from domain.limits.limit import Key, Limit

Row = Mapping[str, Any]


def buckets_of(row: Row, limit: Limit) -> Buckets:
    """The buckets of a limit; one that was never used is full, and so not there."""
    return Buckets(
        requests=_bucket(limit.requests_per_minute, row["request_level"], row["request_level_at"]),
        tokens=_bucket(limit.tokens_per_minute, row["token_level"], row["token_level_at"]),
    )


def bucket_row(key: Key, buckets: Buckets) -> Row:
    """What `buckets_of` reads."""
    requests, tokens = buckets.requests, buckets.tokens
    return {
        "scope": key.scope,
        "name": key.name,
        "request_level": requests and requests.level,
        "request_level_at": requests and requests.at,
        "token_level": tokens and tokens.level,
        "token_level_at": tokens and tokens.at,
    }


def lease_of(row: Row) -> Lease:
    """What one holder has of one limit."""
    return Lease(
        holder=row["holder"],
        serial=row["serial"],
        granted=row["granted"],
        wanted=row["wanted"],
        served_at=row["served_at"],
        requests=_block(row, "request"),
        tokens=_block(row, "token"),
        expires_at=row["expires_at"],
    )


def lease_row(key: Key, lease: Lease) -> Row:
    """What `lease_of` reads."""
    return {
        "scope": key.scope,
        "name": key.name,
        "holder": lease.holder,
        "serial": lease.serial,
        "granted": lease.granted,
        "wanted": lease.wanted,
        "served_at": lease.served_at,
        **_block_row(lease.requests, "request"),
        **_block_row(lease.tokens, "token"),
        "expires_at": lease.expires_at,
    }


def _bucket(per_minute: float | None, level: float | None, at: float | None) -> Bucket | None:
    return None if per_minute is None or level is None or at is None else Bucket(per_minute, level, at)


def _block(row: Row, kind: str) -> Block:
    return Block(
        held=row[f"{kind}_held"],
        wanted=row[f"{kind}_wanted"],
        credited=row[f"{kind}_credited"],
        waiting_since=row[f"{kind}_waiting_since"],
    )


def _block_row(block: Block, kind: str) -> Row:
    return {
        f"{kind}_held": block.held,
        f"{kind}_wanted": block.wanted,
        f"{kind}_credited": block.credited,
        f"{kind}_waiting_since": block.waiting_since,
    }
