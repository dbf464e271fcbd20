"""Which partition a key belongs to: as every Kafka client decides it, at a third of aiokafka's price.

Source: Apache Kafka, `org.apache.kafka.common.utils.Utils.murmur2`; aiokafka 0.14, partitioner.py.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import Final

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF
#: Keys come in twos and threes: the facts of one task follow one another.
_REMEMBERED_MAX: Final = 4096


def partition_of(key: bytes | None, every: Sequence[int], available: Sequence[int]) -> int:
    """The partition of a key among all; any available one where there is no key."""
    if key is None:
        return random.choice(available or every)  # noqa: S311 - spreads load, protects nothing
    return every[(murmur2(key) & 0x7FFFFFFF) % len(every)]


@lru_cache(_REMEMBERED_MAX)
def murmur2(key: bytes) -> int:
    """The hash, as 32 bits without a sign."""
    length = len(key)
    words = length // 4
    hashed = _SEED ^ length
    for word in _words(words).unpack_from(key):
        word = (word * _M) & _MASK
        hashed = ((hashed * _M) & _MASK) ^ (((word ^ (word >> 24)) * _M) & _MASK)
    if rest := key[words * 4 :]:
        hashed = ((hashed ^ int.from_bytes(rest, "little")) * _M) & _MASK
    hashed = ((hashed ^ (hashed >> 13)) * _M) & _MASK
    return hashed ^ (hashed >> 15)


@lru_cache(_REMEMBERED_MAX)
def _words(count: int) -> Struct:
    return Struct(f"<{count}I")
