"""What a holder of permits and the table say to each other, and the table's rule. Pure.

The bound rests on three sentences. The table grants nothing beyond the limit less what other holders have by their
leases that have not run out. A holder reduces itself before it says so, and uses nothing that it was not granted.
And a holder counts its lease from before it asked, by its own clock, so that for it the lease ends before it ends for
the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from domain.limits.bucket import Bucket
from domain.limits.limit import Key, Limit
from domain.limits.shares import Claimant, share_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RateAsk:
    """One holder and one bucket."""

    #: Taken before and not spent. What it has spent, or no longer vouches for, is not in it.
    kept: float = 0.0
    #: Units that it could spend now, those included.
    wanted: float = 0.0
    #: All that it has ever given back, less what it used beyond what it had reserved: a total, so that an exchange
    #: whose answer was lost is not counted twice.
    credited: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a holder says of one limit."""

    key: Key
    limit: Limit
    #: Permits that it keeps: it has reduced itself to them.
    held: int = 0
    #: Permits that it could use, those included.
    wanted: int = 0
    requests: RateAsk = RateAsk()
    tokens: RateAsk = RateAsk()

    @property
    def idle(self) -> bool:
        """The holder has nothing, and wants nothing."""
        return not (self.held or self.wanted or any(each.kept or each.wanted for each in (self.requests, self.tokens)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What a holder has of one bucket, as the table knows it."""

    held: float = 0.0
    wanted: float = 0.0
    credited: float = 0.0
    #: Since when it has wanted more than it has; None: it has what it wants.
    waiting_since: float | None = None

    @property
    def lacking(self) -> float:
        """What must come before it is satisfied."""
        return max(0.0, self.wanted - self.held)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One holder's row of one limit."""

    holder: str
    #: Of the holder's last exchange: what comes later and is older is not heeded.
    serial: int
    granted: int = 0
    wanted: int = 0
    served_at: float = 0.0
    requests: Block = Block()
    tokens: Block = Block()
    expires_at: float

    @property
    def starving(self) -> bool:
        """It wants more than it has."""
        return self.wanted > self.granted


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """The shared row of one limit; None where it has no such bucket."""

    requests: Bucket | None = None
    tokens: Bucket | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateAnswer:
    """What a holder has of one bucket from now on."""

    held: float = 0.0
    #: When to ask again, where it lacks something.
    ready_in_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the table says of one limit."""

    key: Key
    #: Permits that the holder has until its lease ends.
    granted: int
    #: Permits that it should come down to: those above are for others.
    target: int
    #: Somebody else wants permits and has fewer than it wants.
    others_starve: bool = False
    requests: RateAnswer = RateAnswer()
    tokens: RateAnswer = RateAnswer()


#: An attempt that is told to stop has ended after so long: the dispatcher notices, and its engine is given time.
MARGIN_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What all holders of an installation go by, in seconds."""

    #: How long a lease lasts without being renewed: what a killed holder had is free after that.
    lease_seconds: float = 6.0
    #: How long before that its holder ends what still runs.
    margin_seconds: float = MARGIN_SECONDS
    #: How often leases are renewed.
    renew_seconds: float = 1.0
    #: How long a turn at what cannot be divided lasts.
    turn_seconds: float = 1.0

    @classmethod
    def lasting(cls, lease_seconds: float) -> Terms:
        """Leases of that length, which are renewed often enough to outlast a short absence of the table."""
        return cls(lease_seconds=lease_seconds, renew_seconds=min(1.0, (lease_seconds - MARGIN_SECONDS) / 4))

    def __post_init__(self) -> None:
        if not 0 < self.renew_seconds < self.lease_seconds - self.margin_seconds < self.lease_seconds:
            raise ValueError(f"a lease must be renewed before its margin begins: {self!r}")


def exchange(
    ask: Ask, holder: str, serial: int, leases: Sequence[Lease], buckets: Buckets, now: float, terms: Terms
) -> tuple[Lease, Buckets, Answer]:
    """The table's rule: the holder's row and the shared one as they are to be written, and the answer.

    `leases` are all rows of the limit, `now` is the table's clock, read when nobody else could change them any more.
    """
    others = [each for each in leases if each.holder != holder and each.expires_at > now]
    before = next((each for each in leases if each.holder == holder), None)
    # What ran out is not the holder's any more, whatever it thinks; only its totals count on.
    mine = before if before is not None and before.expires_at > now else None
    kept = min(ask.held, mine.granted) if mine is not None else 0
    limit = ask.limit.concurrency if ask.limit.concurrency is not None else kept
    claim = Claimant(
        holder=holder, granted=kept, wanted=ask.wanted, served_at=before.served_at if before is not None else 0.0
    )
    share = share_of(holder, limit, [claim, *map(_claimant, others)], now, terms.turn_seconds)
    free = limit - sum(each.granted for each in others) - kept
    granted = kept + max(0, min(share.permits - kept, free))
    served = share.from_remainder and granted >= share.permits
    turn_over = now - claim.served_at >= terms.turn_seconds
    lease = Lease(
        holder=holder,
        serial=serial,
        granted=granted,
        wanted=ask.wanted,
        served_at=now if served and turn_over else claim.served_at,
        expires_at=now + terms.lease_seconds,
    )
    requests, lease_requests, has_requests = _take(
        buckets.requests,
        ask.limit.requests_per_minute,
        ask.requests,
        before.requests if before is not None else None,
        mine is not None,
        [each.requests for each in others],
        now,
    )
    tokens, lease_tokens, has_tokens = _take(
        buckets.tokens,
        ask.limit.tokens_per_minute,
        ask.tokens,
        before.tokens if before is not None else None,
        mine is not None,
        [each.tokens for each in others],
        now,
    )
    answer = Answer(
        key=ask.key,
        granted=granted,
        target=share.permits + share.slack,
        others_starve=any(each.starving for each in others),
        requests=has_requests,
        tokens=has_tokens,
    )
    return (
        replace(lease, requests=lease_requests, tokens=lease_tokens),
        Buckets(requests=requests, tokens=tokens),
        answer,
    )


def concerns_others(before: Lease | None, after: Lease, answer: Answer) -> bool:
    """Whether others should ask now: for permits that came free, or to learn that this holder wants some of theirs."""
    freed = before is not None and after.granted < before.granted
    hungry = before is None or not before.starving
    return (freed and answer.others_starve) or (after.starving and hungry)


def _claimant(lease: Lease) -> Claimant:
    return Claimant(holder=lease.holder, granted=lease.granted, wanted=lease.wanted, served_at=lease.served_at)


def _take(
    bucket: Bucket | None,
    per_minute: float | None,
    ask: RateAsk,
    before: Block | None,
    valid: bool,
    others: Sequence[Block],
    now: float,
) -> tuple[Bucket | None, Block, RateAnswer]:
    """The bucket, the holder's block and its answer; whoever has waited longest for a bucket is satisfied first."""
    if per_minute is None:
        return None, Block(credited=ask.credited), RateAnswer()
    credit = ask.credited - before.credited if before is not None else 0.0
    kept = min(ask.kept, before.held) if before is not None and valid else 0.0
    outstanding = kept + sum(each.held for each in others)
    bucket = (bucket or Bucket.full(per_minute, now)).taken(-credit).refilled(now, outstanding, per_minute)
    wanted = min(ask.wanted, per_minute)
    since = before.waiting_since if before is not None and before.waiting_since is not None else now
    ahead = sum(each.lacking for each in others if each.waiting_since is not None and each.waiting_since < since)
    lacking = max(0.0, wanted - kept)
    given = max(0.0, min(lacking, bucket.level - ahead))
    bucket = bucket.taken(given)
    lacking -= given
    block = Block(held=kept + given, wanted=wanted, credited=ask.credited, waiting_since=since if lacking > 0 else None)
    ready = bucket.seconds_until(lacking + ahead) if lacking > 0 else None
    return bucket, block, RateAnswer(held=block.held, ready_in_seconds=ready)
