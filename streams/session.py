"""What a group member knows, by its own clock, of its session with the broker.

A member that stood still (SIGSTOP, swap, a machine that sleeps) learns from the broker that its shards are another's
only when its next heartbeat is answered: seconds, in which it would go on as their owner. Its own clock tells at once.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from aiokafka.errors import KafkaError, NoError, RebalanceInProgressError
from aiokafka.protocol.group import HeartbeatRequest, SyncGroupRequest

#: Of the session timeout: leaves time from a look at the session to the write that it allowed.
CERTAIN_SHARE = 0.9
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
        coordinator._send_req = self._noting(coordinator, coordinator._send_req)

    def _noting(self, coordinator: Any, send: Send) -> Send:
        async def noted(request: Any) -> Any:
            sent_at, was_certain = self._clock(), self.certain
            generation, member = coordinator.generation, coordinator.member_id
            answer = await send(request)
            # Commits are answered partition by partition, without one code for all.
            match request, getattr(answer, "error_code", None):
                case HeartbeatRequest(), NoError.errno if not was_certain:
                    await self._ask(send, SyncGroupRequest(coordinator.group_id, generation, member, None, []))
                case ((HeartbeatRequest() | SyncGroupRequest()), NoError.errno):
                    self._confirmed(sent_at)
                case HeartbeatRequest(), RebalanceInProgressError.errno:
                    self._confirmed(sent_at)
            return answer

        return noted

    async def _ask(self, send: Send, question: SyncGroupRequest) -> None:
        """A broker that still loads its groups answers each heartbeat blindly that all is well.

        To a member that stood still while the broker was away, that would be a lie. A member's second SyncGroup of a
        generation changes nothing, and is answered from the group's real state.
        Source: Apache Kafka 4, GroupCoordinatorService.heartbeat, GroupMetadataManager.classicGroupSync.
        """
        sent_at = self._clock()
        with suppress(KafkaError):
            if (await send(question)).error_code == NoError.errno:
                self._confirmed(sent_at)

    def _confirmed(self, sent_at: float) -> None:
        self._certain_until = max(self._certain_until, sent_at + self._certain_seconds)
