"""Where permits come from, as a port: PostgreSQL in an installation, memory in a process that has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from domain.errors import PenstockError
from domain.limits.breaker import SILENCE, Told, Words
from domain.limits.exchange import Answer, Ask, Terms


class TableUnavailable(PenstockError):
    """The table of leases cannot be reached or does not answer; leases go on until they end."""


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What came of one exchange."""

    #: One for each ask, in their order.
    answers: Sequence[Answer]
    #: Seconds for which providers want to be left alone, by name.
    blocked: Mapping[str, float]
    #: Circuits that are open, by provider.
    circuits: Mapping[str, Told]


class LeaseTable(Protocol):
    """Grants permits and blocks of units to holders, so that no limit is ever exceeded by their sum."""

    #: What all its holders go by.
    terms: Terms

    async def exchange(
        self, holder: str, serial: int, asks: Sequence[Ask], blocked: Mapping[str, float], words: Words = SILENCE
    ) -> Exchanged:
        """Say what the holder has and wants, which providers want to be left alone for how many seconds, and what there
        is to say about circuits.

        `serial` is larger with each call of a holder: one that comes late is not heeded.

        Raises:
            TableUnavailable: not known whether it was heard; the holder goes on with what it has.
        """

    async def listen(self, holder: str) -> None:
        """Return when it is worth asking again: permits are free or wanted, or a provider wants to be left alone.

        The first time at once: nobody knows what was said before.

        Raises:
            TableUnavailable: nothing can be heard at present.
        """

    async def close(self) -> None:
        """Let go of the connections."""
