"""Dramatiq's side of the comparison: its no-op actor, and the one who sends. Runs in the peers' own environment."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.peers.driving import drive

URL = os.environ["PEER_REDIS_URL"]
RESULT_SECONDS_MAX = 120

broker = RedisBroker(url=URL)
broker.add_middleware(Results(backend=RedisBackend(url=URL)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)  # type: ignore[untyped-decorator]  # not installed here
def noop() -> dict[str, object]:
    """Nothing, with a result that is stored."""
    return {}


if __name__ == "__main__":
    drive(noop.send, lambda message: message.get_result(block=True, timeout=RESULT_SECONDS_MAX * 1000))
