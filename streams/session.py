"""What a group member knows, by its own clock, of its session with the broker.

A member that stood still (SIGSTOP, swap, a machine that sleeps) learns from the broker that its shards are another's
only when its next heartbeat is answered: seconds, in which it would go on as their owner. Its own clock tells at once.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka.errors import NoError, RebalanceInProgressError
from aiokafka.protocol.group import HeartbeatRequest, SyncGroupRequest

#: Of the session timeout: leaves time from a look at the session to the write that it allowed.
CERTAIN_SHARE = 0.9
#: A broker that answers so has counted the sign of life, whether or not members come and go meanwhile.
_COUNTED = {NoError.errno, RebalanceInProgressError.errno}

Send = Callable[[Any], Awaitable[Any]]


class Session:
    """Certain for a while after each sign of life that the broker has confirmed, counted from when it was sent."""

    def __init__(self, timeout_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._certain_seconds = timeout_seconds * CERTAIN_SHARE
        self._clock = clock
        self._certain_until = float("-inf")

    @property
    def certain(self) -> bool:
        """Whether no successor can exist yet: the broker cannot have ended the session. Any thread may ask."""
        return self._clock() < self._certain_until

    def watch(self, coordinator: Any) -> None:
        """Take note of what an aiokafka group coordinator sends from now on, and of how it is answered."""
        coordinator._send_req = self._noting(coordinator._send_req)

    def _noting(self, send: Send) -> Send:
        async def noted(request: Any) -> Any:
            sent_at = self._clock()
            answer = await send(request)
            if isinstance(request, HeartbeatRequest | SyncGroupRequest) and answer.error_code in _COUNTED:
                self._certain_until = max(self._certain_until, sent_at + self._certain_seconds)
            return answer

        return noted
